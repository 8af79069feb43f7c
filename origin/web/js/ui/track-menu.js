/**
 * What can be done with tracks: next, queue, playlist.
 * @module
 */

import * as api from "../api.js";
import { attempt } from "../app.js";
import { plural } from "../format.js";
import { go, href } from "../router.js";
import { askText } from "./dialog.js";
import { openMenu } from "./menu.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../api.js").TrackSummary} TrackSummary */

/**
 * @param {App} app
 * @param {HTMLElement} anchor
 * @param {TrackSummary[]} tracks
 * @param {import("./menu.js").Item[]} [more] items of the page itself
 */
export function openTrackMenu(app, anchor, tracks, more = []) {
  const [first] = tracks;
  const what = tracks.length === 1 ? `“${first.title}”` : plural(tracks.length, "track");
  const empty = !app.player.queue.current;
  const items = [
    { label: "Play next", run: () => (app.player.queue.addNext(tracks), app.toast(`${what} plays next.`)) },
    { label: "Add to queue", run: () => (app.player.queue.add(tracks), app.toast(`Added ${what} to the queue.`)) },
    { label: "Add to playlist…", run: () => choosePlaylist(app, anchor, tracks) },
  ];
  if (empty) items.splice(0, 2, { label: "Play", run: () => app.player.playAll(tracks) });
  if (tracks.length === 1 && first.album) {
    const { id } = first.album;
    items.push({ label: "Go to album", run: () => go(href("albums", id)) });
  }
  openMenu(anchor, [...items, ...more], `More for ${what}`);
}

/**
 * Asks which playlist tracks are to go to.
 * @param {App} app
 * @param {HTMLElement} anchor
 * @param {TrackSummary[]} tracks
 */
export async function choosePlaylist(app, anchor, tracks) {
  const answer = await attempt(app, () => api.get(api.paths.playlists));
  if (!answer) return;
  const add = async (/** @type {string} */ id, /** @type {string} */ name) => {
    if (await attempt(app, () => api.addToPlaylist(id, tracks.map((t) => t.id)))) app.toast(`Added to “${name}”.`);
  };
  const create = async () => {
    const name = await askText({ title: "New playlist", label: "Name", confirm: "Create" });
    const made = name && (await attempt(app, () => api.createPlaylist(name)));
    if (made) await add(made.id, made.name);
  };
  openMenu(
    anchor,
    [
      { label: "New playlist…", run: create },
      ...answer.playlists.map((/** @type {{id: string, name: string}} */ p) => ({ label: p.name, run: () => add(p.id, p.name) })),
    ],
    "Add to playlist",
  );
}
