/* Runs before the first paint and before any module: sets the chosen theme, and asks for what the
   first page is going to need. A classic script, so that it waits for nothing. */
(() => {
  const early = (window.__segueEarly = {});
  try {
    const theme = JSON.parse(localStorage.getItem("segue.settings") ?? "{}").theme;
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    const grant = JSON.parse(localStorage.getItem("segue.session") ?? "null");
    if (!(grant?.expires_at > Date.now() / 1000 + 60)) early.session = fetch("/api/v1/session", { method: "POST" });
  } catch {
    // No storage: the system's preference holds, and the session is asked for later.
  }
  if (/^#?\/?$/.test(location.hash)) early["/albums"] = fetch("/api/v1/albums");
  for (const answer of Object.values(early)) answer.catch(() => {}); // whoever takes it hears of it
})();
