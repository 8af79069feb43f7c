/**
 * One album: cover, who and when, and its tracks.
 * @module
 */

import { tint } from "../accent.js";
import * as api from "../api.js";
import { cover } from "../cover.js";
import { h, icon, iconButton } from "../dom.js";
import { length, plural, year } from "../format.js";
import { href } from "../router.js";
import { trackList } from "../ui/track-list.js";
import { openTrackMenu } from "../ui/track-menu.js";
import { albumSkeleton, loaded } from "./states.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../api.js").Album} Album */

/** @param {App} app @param {string} id @returns {import("../app.js").Page} */
export function album(app, id) {
  const page = /** @type {import("../app.js").Page} */ ({ title: "Album", place: "albums" });
  page.node = loaded(api.paths.album(id), albumSkeleton(), (/** @type {Album} */ found) => {
    page.title = found.artist ? `${found.title} by ${found.artist}` : found.title;
    document.title = `${page.title} · Segue`;
    const node = render(app, found);
    tint(found.cover, node);
    if (found.tracks[0]) idle(() => app.player.prefetch(found.tracks[0], !app.player.track));
    return node;
  });
  return page;
}

/** @param {App} app @param {Album} found */
function render(app, found) {
  const { tracks } = found;
  const play = h(
    "button",
    { type: "button", class: "solid-button", id: "play-all", disabled: !tracks.length, on: { click: () => (isOn() ? app.player.toggle() : app.player.playAll(tracks)), pointerdown: () => app.player.prefetch(tracks[0]) } },
  );
  const isOn = () => tracks.some((t) => t.id === app.player.track?.id);
  const label = () => {
    if (!play.isConnected && play.dataset.shown) return stops.forEach((stop) => stop());
    const text = isOn() ? (app.player.wanted ? "Pause" : "Resume") : "Play";
    if (play.dataset.shown === text) return;
    play.dataset.shown = text;
    play.replaceChildren(icon(text === "Pause" ? "pause" : "play"), text);
  };
  label();
  const stops = ["status", "track"].map((event) => app.player.on(event, label));
  const shuffle = h("button", { type: "button", class: "ghost-button", on: { click: () => playShuffled(app, tracks) } }, icon("shuffle"), "Shuffle");
  const more = iconButton("more", "More for this album", undefined, {
    "aria-haspopup": "menu",
    on: { click: (/** @type {MouseEvent} */ e) => openTrackMenu(app, /** @type {HTMLElement} */ (e.currentTarget), tracks) },
  });
  const facts = [year(found.date), plural(tracks.length, "track"), length(found.duration_s)].filter(Boolean);
  return h(
    "article",
    { class: "album" },
    h("div", { class: "album-side" }, cover(found, { class: "large", eager: true })),
    h(
      "div",
      { class: "album-main" },
      h(
        "header",
        { class: "head" },
        h("p", { class: "kicker" }, "Album"),
        h("h1", { class: sizeOf(found.title) }, found.title),
        h("p", { class: "byline" }, found.artist_id ? h("a", { href: href("artists", found.artist_id) }, found.artist) : (found.artist ?? "Unknown artist")),
        h("p", { class: "meta" }, facts.join(" · ")),
        h("div", { class: "actions" }, play, shuffle, more),
      ),
      discs(app, found),
    ),
  );
}

/** Tracks, disc by disc where there are several. @param {App} app @param {Album} found */
function discs(app, found) {
  const { tracks } = found;
  const numbers = [...new Set(tracks.map((t) => t.disc_number ?? 1))];
  return h(
    "div",
    null,
    numbers.map((disc) => {
      const own = tracks.filter((t) => (t.disc_number ?? 1) === disc);
      const list = trackList(app, own, {
        lead: "number",
        artist: (t) => t.artist !== found.artist,
        play: (i) => app.player.playAll(tracks, tracks.indexOf(own[i])),
      });
      return numbers.length > 1 ? h("section", null, h("h2", { class: "disc" }, `Disc ${disc}`), list) : list;
    }),
  );
}

/** @param {App} app @param {import("../api.js").TrackSummary[]} tracks */
function playShuffled(app, tracks) {
  app.player.queue.setShuffled(true);
  app.player.playAll(tracks, Math.floor(Math.random() * tracks.length));
}

/** Long titles are set smaller. @param {string} title */
export function sizeOf(title) {
  if (title.length > 34) return "long";
  return title.length > 18 ? "medium" : "";
}

/** @param {() => void} work */
function idle(work) {
  if ("requestIdleCallback" in globalThis) requestIdleCallback(work, { timeout: 1000 });
  else setTimeout(work, 200);
}
