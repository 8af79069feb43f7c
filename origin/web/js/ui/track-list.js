/**
 * Tracks as rows: one list for albums, playlists, search and the queue.
 * @module
 */

import { cover } from "../cover.js";
import { h, icon, iconButton } from "../dom.js";
import { clock, spoken } from "../format.js";
import { href } from "../router.js";
import { openTrackMenu } from "./track-menu.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../api.js").TrackSummary} TrackSummary */

/**
 * @typedef {object} Options
 * @property {(index: number) => void} play
 * @property {"number" | "cover"} lead what stands before the title
 * @property {(track: TrackSummary) => boolean} [artist] whether to name a track's artist
 * @property {(index: number) => import("./menu.js").Item[]} [menu] more items for a row's menu
 * @property {boolean} [grip] whether rows can be moved
 * @property {(index: number) => string} [key] identity of a row where tracks may repeat
 */

/**
 * @param {App} app
 * @param {TrackSummary[]} tracks
 * @param {Options} options
 * @returns {HTMLOListElement}
 */
export function trackList(app, tracks, options) {
  const rows = tracks.map((track, index) => row(app, track, index, options));
  const list = h("ol", { class: `tracks lead-${options.lead}` }, rows);
  list.setAttribute("role", "list");
  return list;
}

/**
 * @param {App} app
 * @param {TrackSummary} track
 * @param {number} index
 * @param {Options} options
 */
function row(app, track, index, options) {
  const artist = options.artist ? options.artist(track) : options.lead === "cover";
  const lead =
    options.lead === "cover"
      ? cover(track, { class: "tiny" })
      : h("span", { class: "number" }, track.track_number ?? index + 1);
  const play = h(
    "button",
    { type: "button", class: "track-play", "aria-label": `Play ${track.title}` },
    lead,
    h("span", { class: "track-icon" }, icon("play")),
    h("span", { class: "pulse", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
  );
  const subtitle =
    artist && track.artist
      ? h("span", { class: "track-artist" }, track.artist_id ? h("a", { href: href("artists", track.artist_id) }, track.artist) : track.artist)
      : null;
  const node = h(
    "li",
    {
      class: "track",
      data: { track: track.id, key: options.key?.(index) ?? "" },
      on: {
        click: (/** @type {MouseEvent} */ e) => {
          const control = /** @type {HTMLElement} */ (e.target).closest("a, button");
          if (!control || control === play) activate(app, track, node, () => options.play(indexOf(node)));
        },
        pointerdown: () => app.player.prefetch(track),
      },
    },
    options.grip && h("button", { type: "button", class: "grip icon-button", "aria-label": `Move ${track.title}`, title: "Drag, or press ↑ and ↓" }, icon("grip")),
    play,
    h("span", { class: "track-text" }, h("span", { class: "track-title" }, track.title), subtitle),
    h("time", { class: "track-time", "aria-label": spoken(track.duration_s) }, clock(track.duration_s)),
    iconButton("more", `More for ${track.title}`, undefined, {
      class: "track-more",
      "aria-haspopup": "menu",
      on: {
        click: (/** @type {MouseEvent} */ e) =>
          openTrackMenu(app, /** @type {HTMLElement} */ (e.currentTarget), [track], options.menu?.(indexOf(node))),
      },
    }),
  );
  return node;
}

/** A row's place now: rows move. @param {HTMLElement} node */
function indexOf(node) {
  return [...(node.parentElement?.children ?? [])].indexOf(node);
}

/**
 * The current row's button pauses and resumes; any other starts.
 * @param {App} app
 * @param {TrackSummary} track
 * @param {HTMLElement} node
 * @param {() => void} play
 */
function activate(app, track, node, play) {
  if (node.classList.contains("current") && app.player.track?.id === track.id) app.player.toggle();
  else play();
}

/**
 * Marks rows of the track that plays. Where rows have keys, the queue's current entry decides.
 * @param {App} app
 * @param {ParentNode} [within]
 */
export function markCurrent(app, within = document) {
  const { current } = app.player.queue;
  for (const row of within.querySelectorAll(".track")) {
    const { track, key } = /** @type {HTMLElement} */ (row).dataset;
    const on = current !== null && (key?.startsWith("q") ? key === `q${current.key}` : track === current.track.id);
    row.classList.toggle("current", on);
    if (on) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}
