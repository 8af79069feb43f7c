/**
 * Playlists: all of them, and one to be played, renamed, put in order and deleted.
 * @module
 */

import * as api from "../api.js";
import { attempt } from "../app.js";
import { h, icon, iconButton } from "../dom.js";
import { length, plural } from "../format.js";
import { go, href } from "../router.js";
import { askSure, askText } from "../ui/dialog.js";
import { reorderable } from "../ui/reorder.js";
import { markCurrent, trackList } from "../ui/track-list.js";
import { sizeOf } from "./album.js";
import { listSkeleton, loaded, notice } from "./states.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../api.js").Playlist} Playlist */
/** @typedef {{id: string, name: string, item_count?: number}} Head */

/** @param {App} app @returns {import("../app.js").Page} */
export function playlists(app) {
  const node = loaded(api.paths.playlists, listSkeleton(4), (/** @type {{playlists: Head[]}} */ { playlists: all }) => {
    const create = h("button", { type: "button", class: "solid-button", id: "new-playlist", on: { click: () => createOne(app) } }, icon("plus"), "New playlist");
    if (!all.length) {
      return notice("No playlists yet", [h("p", null, "A playlist plays as one continuous stream, in any order you like.")], create);
    }
    return h(
      "div",
      null,
      h("header", { class: "head with-action" }, h("div", null, h("h1", null, "Playlists"), h("p", { class: "meta" }, plural(all.length, "playlist"))), create),
      h(
        "ul",
        { class: "playlists", role: "list" },
        all.map((p) => h("li", null, h("a", { href: href("playlists", p.id) }, p.name), h("span", { class: "meta" }, plural(p.item_count ?? 0, "track")))),
      ),
    );
  });
  return { title: "Playlists", node, place: "playlists" };
}

/** @param {App} app */
async function createOne(app) {
  const name = await askText({ title: "New playlist", label: "Name", confirm: "Create" });
  const made = name && (await attempt(app, () => api.createPlaylist(name)));
  if (made) go(href("playlists", made.id));
}

/** @param {App} app @param {string} id @returns {import("../app.js").Page} */
export function playlist(app, id) {
  const page = /** @type {import("../app.js").Page} */ ({ title: "Playlist", place: "playlists" });
  page.node = loaded(api.paths.playlist(id), listSkeleton(), (/** @type {Playlist} */ found) => {
    page.title = found.name;
    document.title = `${found.name} · Segue`;
    const frame = h("div");
    const show = (/** @type {Playlist} */ now) => {
      frame.replaceChildren(render(app, now, show));
      markCurrent(app, frame);
    };
    show(found);
    return frame;
  });
  return page;
}

/**
 * @param {App} app
 * @param {Playlist} found
 * @param {(now: Playlist) => void} show what a change answers
 */
function render(app, found, show) {
  const items = found.items.filter((i) => i.track);
  const tracks = items.map((i) => i.track);
  const play = h("button", { type: "button", class: "solid-button", disabled: !tracks.length, on: { click: () => app.player.playAll(tracks) } }, icon("play"), "Play");
  const rename = iconButton("edit", "Rename", async () => {
    const name = await askText({ title: "Rename playlist", label: "Name", value: found.name, confirm: "Rename" });
    const now = name && (await attempt(app, () => api.renamePlaylist(found.id, name)));
    if (now) show({ ...found, name: now.name });
  });
  const remove = iconButton("trash", "Delete", async () => {
    const sure = await askSure({ title: "Delete playlist?", text: `“${found.name}” goes; its music stays.`, confirm: "Delete" });
    if (sure && (await attempt(app, async () => (await api.deletePlaylist(found.id), true)))) go(href("playlists"));
  });
  const seconds = tracks.reduce((sum, t) => sum + t.duration_s, 0);
  return h(
    "article",
    { class: "playlist" },
    h(
      "header",
      { class: "head" },
      h("p", { class: "kicker" }, "Playlist"),
      h("h1", { class: sizeOf(found.name) }, found.name),
      h("p", { class: "meta" }, plural(tracks.length, "track"), tracks.length ? ` · ${length(seconds)}` : null),
      h("div", { class: "actions" }, play, rename, remove),
    ),
    tracks.length ? list(app, found, items, show) : h("p", { class: "quiet" }, "Empty so far. Add tracks from any album, with the ⋯ beside them."),
  );
}

/**
 * @param {App} app
 * @param {Playlist} found
 * @param {import("../api.js").PlaylistItem[]} items
 * @param {(now: Playlist) => void} show
 */
function list(app, found, items, show) {
  const order = [...items];
  const node = trackList(app, order.map((i) => i.track), {
    lead: "cover",
    grip: true,
    play: (i) => app.player.playAll(order.map((o) => o.track), i),
    menu: (i) => [
      {
        label: "Remove from playlist",
        run: async () => {
          const now = await attempt(app, () => api.removeFromPlaylist(found.id, order[i].item_id));
          if (now) show(now);
        },
      },
    ],
  });
  reorderable(node, async (from, to) => {
    const [moved] = order.splice(from, 1);
    order.splice(to, 0, moved);
    const now = await attempt(app, () => api.orderPlaylist(found.id, order.map((o) => o.item_id)));
    if (!now) show(found);
  });
  return node;
}
