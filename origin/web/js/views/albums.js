/**
 * All albums, as covers.
 * @module
 */

import * as api from "../api.js";
import { cover } from "../cover.js";
import { h, iconButton } from "../dom.js";
import { length, plural, year } from "../format.js";
import { href } from "../router.js";
import { attempt } from "../app.js";
import { gridSkeleton, loaded, noMusic } from "./states.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../api.js").AlbumListing} AlbumListing */

/** @param {App} app @returns {import("../app.js").Page} */
export function albums(app) {
  const node = loaded(api.paths.albums, gridSkeleton(), (/** @type {{albums: AlbumListing[], total?: number}} */ answer) => {
    if (!answer.albums.length) return noMusic();
    const seconds = answer.albums.reduce((sum, a) => sum + a.duration_s, 0);
    const grid = albumGrid(app, answer.albums);
    const total = answer.total ?? answer.albums.length;
    if (total > answer.albums.length) more(app, grid, answer.albums.length, total);
    return h(
      "div",
      null,
      h(
        "header",
        { class: "head" },
        h("h1", null, "Albums"),
        h("p", { class: "meta" }, plural(total, "album"), total === answer.albums.length ? ` · ${length(seconds)}` : null),
      ),
      grid,
    );
  });
  return { title: "Albums", node, place: "albums" };
}

/**
 * @param {App} app
 * @param {AlbumListing[]} list
 * @param {{artist?: boolean}} [options]
 * @returns {HTMLUListElement}
 */
export function albumGrid(app, list, { artist = true } = {}) {
  const grid = h("ul", { class: `albums ${list.length < 5 ? "few" : ""}` }, list.map((album, i) => tile(app, album, artist, i < 12)));
  grid.setAttribute("role", "list");
  return grid;
}

/**
 * @param {App} app
 * @param {AlbumListing} album
 * @param {boolean} artist
 * @param {boolean} eager
 */
function tile(app, album, artist, eager) {
  const address = href("albums", album.id);
  const play = iconButton("play", `Play ${album.title}`, () => playAlbum(app, album.id), { class: "tile-play" });
  const node = h(
    "li",
    {
      class: "tile",
      data: { album: album.id },
      on: { pointerenter: () => prefetchSoon(node, album.id), pointerdown: () => prefetchSoon(node, album.id, 0) },
    },
    h("a", { href: address, class: "tile-cover", tabindex: "-1", "aria-hidden": "true" }, cover(album, { eager })),
    play,
    h("a", { href: address, class: "tile-title" }, album.title),
    h(
      "p",
      { class: "tile-note" },
      artist ? (album.artist ?? "Unknown artist") : null,
      artist && year(album.date) ? " · " : null,
      year(album.date),
    ),
  );
  return node;
}

/**
 * Fetches an album that the pointer rests on: it is likely to be opened.
 * @param {HTMLElement} node
 * @param {string} id
 * @param {number} [after] ms
 */
function prefetchSoon(node, id, after = 90) {
  const path = api.paths.album(id);
  if (api.last(path)) return;
  setTimeout(() => {
    if (node.matches(":hover") && !api.last(path)) api.get(path).catch(() => {});
  }, after);
}

/**
 * @param {App} app
 * @param {string} id
 */
export async function playAlbum(app, id) {
  const album = await attempt(app, async () => api.last(api.paths.album(id)) ?? (await api.get(api.paths.album(id))));
  if (album?.tracks.length) app.player.playAll(album.tracks);
}

/**
 * Fetches further pages as the end of the grid comes into view.
 * @param {App} app
 * @param {HTMLUListElement} grid
 * @param {number} have
 * @param {number} total
 */
function more(app, grid, have, total) {
  const end = h("li", { class: "tile end", "aria-hidden": "true" });
  grid.append(end);
  let busy = false;
  const watcher = new IntersectionObserver(
    async ([entry]) => {
      if (!entry.isIntersecting || busy) return;
      busy = true;
      const answer = await attempt(app, () => api.get(`${api.paths.albums}?offset=${have}`));
      busy = false;
      if (!answer?.albums.length) return watcher.disconnect();
      have += answer.albums.length;
      end.before(...answer.albums.map((/** @type {AlbumListing} */ a) => tile(app, a, true, false)));
      if (have >= total) {
        watcher.disconnect();
        end.remove();
      }
    },
    { rootMargin: "1200px" },
  );
  watcher.observe(end);
}
