/**
 * Starts the player: puts the parts together and shows the page that the address names.
 * @module
 */

import { tint } from "./accent.js";
import { expose } from "./debug.js";
import { iconButton, reicon } from "./dom.js";
import { Player } from "./engine/player.js";
import { Session } from "./engine/session.js";
import { keyboard } from "./keyboard.js";
import { mediaSession } from "./media-session.js";
import { remember } from "./memory.js";
import { current, go } from "./router.js";
import { Settings } from "./settings.js";
import { fillBar } from "./ui/bar.js";
import { openHelp } from "./ui/help.js";
import { closeMenu } from "./ui/menu.js";
import { nowPlaying } from "./ui/now.js";
import { toaster } from "./ui/toast.js";
import { markCurrent } from "./ui/track-list.js";
import { album } from "./views/album.js";
import { albums } from "./views/albums.js";
import { artist, artists } from "./views/artists.js";
import { playlist, playlists } from "./views/playlists.js";
import { queue } from "./views/queue.js";
import { search } from "./views/search.js";

/** Pages whose scroll position is remembered. */
const SCROLLS = 50;

const one = (/** @type {string} */ selector) => /** @type {any} */ (document.querySelector(selector));

const session = new Session({ early: /** @type {any} */ (window).__segueEarly?.session });
session.prefix().catch(() => {}); // ahead of the first play; whoever needs it hears of a failure
const settings = new Settings();
const element = one("#audio");
const player = new Player(element, session, settings);
/** @type {import("./app.js").App} */
const app = { player, settings, toast: toaster(one(".toasts")) };

/** @type {import("./app.js").Page | null} */
let shown = null;
let shownKey = "";
/** @type {Map<string, number>} */
const scrolls = new Map();

/** @returns {import("./app.js").Page} */
function pageOf({ parts: [place = "albums", id], query } = current()) {
  if (place === "albums") return id ? album(app, id) : albums(app);
  if (place === "artists") return id ? artist(app, id) : artists();
  if (place === "playlists") return id ? playlist(app, id) : playlists(app);
  if (place === "queue") return queue(app);
  if (place === "search") return search(app, query.get("q") ?? "");
  return albums(app);
}

function show() {
  const route = current();
  scrolls.delete(shownKey);
  scrolls.set(shownKey, scrollY);
  if (scrolls.size > SCROLLS) scrolls.delete(scrolls.keys().next().value ?? "");
  closeMenu();
  shown?.dispose?.();
  const first = shown === null;
  const typing = document.activeElement === one("#search");
  shown = pageOf(route);
  shownKey = route.key;
  const main = one("#main");
  main.replaceChildren(shown.node);
  document.title = `${shown.title} · Segue`;
  for (const link of document.querySelectorAll("[data-place]")) {
    if (/** @type {HTMLElement} */ (link).dataset.place === shown.place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const searching = route.parts[0] === "search";
  document.body.classList.toggle("searching", searching);
  if (!searching && !typing) one("#search").value = "";
  else if (!typing) one("#search").value = route.query.get("q") ?? "";
  scrollTo(0, scrolls.get(route.key) ?? 0);
  const toSearch = searching && !route.query.get("q");
  if (!first && !typing) (toSearch ? one("#search") : main).focus({ preventScroll: true });
  markCurrent(app);
}

function finder() {
  const input = one("#search");
  let timer = 0;
  const ask = () => {
    clearTimeout(timer);
    const words = input.value.trim();
    const searching = current().parts[0] === "search";
    if (!words && !searching) return;
    go(words ? `#/search?q=${encodeURIComponent(words)}` : "#/search", { replace: searching });
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 160);
  });
  input.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => e.key === "Escape" && input.blur());
  input.form.addEventListener("submit", (/** @type {Event} */ e) => (e.preventDefault(), ask(), input.blur()));
}

function themeButton() {
  const order = /** @type {const} */ (["auto", "light", "dark"]);
  const icons = /** @type {const} */ ({ auto: "auto", light: "sun", dark: "moon" });
  const labels = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
  const button = iconButton("auto", "Theme", () => {
    settings.set("theme", order[(order.indexOf(settings.get("theme")) + 1) % 3]);
    update();
  });
  const update = () => {
    const theme = settings.get("theme");
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    reicon(button, icons[theme], labels[theme]);
  };
  update();
  return button;
}

const now = nowPlaying(app);
one(".top-actions").append(iconButton("help", "Keys", openHelp, { class: "desk-only" }), themeButton());
fillBar(one(".bar"), app, now.open);
finder();
keyboard(app, now, one("#search"));
mediaSession(player);
expose(player, element);

player.on("track", () => {
  markCurrent(app);
  tint(player.track?.cover ?? null);
});
player.on("status", () => {
  document.body.dataset.status = player.status;
  document.body.classList.toggle("sounding", player.status === "playing");
});
player.on("problem", ({ message }) => app.toast(message));
addEventListener("offline", () => app.toast("Offline. What is buffered plays on."));
addEventListener("hashchange", show);
new MutationObserver(() => markCurrent(app)).observe(one("#main"), { childList: true, subtree: true });
history.scrollRestoration = "manual";
remember(player);
show();
document.documentElement.classList.add("ready");
