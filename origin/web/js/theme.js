/* Sets the chosen theme before the first paint. A classic script, so that it blocks. */
try {
  const theme = JSON.parse(localStorage.getItem("segue.settings") ?? "{}").theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage: the system's preference holds.
}
