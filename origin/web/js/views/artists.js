/**
 * Artists, as an index, and one artist's albums.
 * @module
 */

import * as api from "../api.js";
import { h } from "../dom.js";
import { plural } from "../format.js";
import { href } from "../router.js";
import { albumGrid } from "./albums.js";
import { sizeOf } from "./album.js";
import { gridSkeleton, listSkeleton, loaded, noMusic } from "./states.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {{id: string, name: string, album_count?: number}} Artist */

/** @returns {import("../app.js").Page} */
export function artists() {
  const node = loaded(api.paths.artists, listSkeleton(), (/** @type {{artists: Artist[]}} */ answer) => {
    if (!answer.artists.length) return noMusic();
    return h(
      "div",
      null,
      h("header", { class: "head" }, h("h1", null, "Artists"), h("p", { class: "meta" }, plural(answer.artists.length, "artist"))),
      h("div", { class: "index" }, byLetter(answer.artists).map(([letter, group]) => section(letter, group))),
    );
  });
  return { title: "Artists", node, place: "artists" };
}

/** @param {string} letter @param {Artist[]} group */
function section(letter, group) {
  const rows = group.map((artist) =>
    h(
      "li",
      null,
      h("a", { href: href("artists", artist.id) }, artist.name),
      artist.album_count ? h("span", { class: "meta" }, plural(artist.album_count, "album")) : null,
    ),
  );
  return h("section", null, h("h2", null, letter), h("ul", null, rows));
}

/**
 * @param {Artist[]} all
 * @returns {[string, Artist[]][]} by first letter, articles and accents aside
 */
function byLetter(all) {
  const name = (/** @type {Artist} */ a) => a.name.replace(/^(the|a|an)\s+/i, "").normalize("NFD");
  /** @type {Map<string, Artist[]>} */
  const groups = new Map();
  for (const artist of [...all].sort((x, y) => name(x).localeCompare(name(y)))) {
    const first = name(artist)[0]?.toUpperCase() ?? "#";
    const letter = /\p{L}/u.test(first) ? first : "#";
    groups.set(letter, [...(groups.get(letter) ?? []), artist]);
  }
  return [...groups];
}

/** @param {App} app @param {string} id @returns {import("../app.js").Page} */
export function artist(app, id) {
  const page = /** @type {import("../app.js").Page} */ ({ title: "Artist", place: "artists" });
  page.node = loaded(api.paths.artist(id), gridSkeleton(4), (/** @type {Artist & {albums: api.AlbumListing[]}} */ found) => {
    page.title = found.name;
    document.title = `${found.name} · Segue`;
    return h(
      "div",
      null,
      h(
        "header",
        { class: "head" },
        h("p", { class: "kicker" }, "Artist"),
        h("h1", { class: `display ${sizeOf(found.name)}` }, found.name),
        h("p", { class: "meta" }, plural(found.albums.length, "album")),
      ),
      albumGrid(app, found.albums, { artist: false }),
    );
  });
  return page;
}
