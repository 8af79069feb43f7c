/**
 * Search: results as one types.
 * @module
 */

import * as api from "../api.js";
import { h } from "../dom.js";
import { href } from "../router.js";
import { trackList } from "../ui/track-list.js";
import { albumGrid } from "./albums.js";
import { failed, listSkeleton, notice } from "./states.js";

/** @typedef {import("../app.js").App} App */

/** @param {App} app @param {string} query @returns {import("../app.js").Page} */
export function search(app, query) {
  const abort = new AbortController();
  const node = h("div", { class: "loaded" });
  const words = query.trim();
  const load = () => {
    const slow = setTimeout(() => node.replaceChildren(listSkeleton(5)), node.childElementCount ? 400 : 120);
    api
      .search(words, abort.signal)
      .then((found) => node.replaceChildren(results(app, words, found)))
      .catch((error) => !abort.signal.aborted && node.replaceChildren(failed(error, load)))
      .finally(() => clearTimeout(slow));
  };
  if (words) load();
  else node.append(notice("Looking for something?", [h("p", { class: "quiet" }, "Titles, artists and albums, by any part of their name.")]));
  return { title: words ? `“${words}”` : "Search", node, place: "search", dispose: () => abort.abort() };
}

/**
 * @param {App} app
 * @param {string} words
 * @param {Awaited<ReturnType<typeof api.search>>} found
 */
function results(app, words, found) {
  if (!found.tracks.length && !found.albums.length && !found.artists.length) {
    return notice("Silence", [h("p", null, `Nothing is called “${words}” here.`)]);
  }
  return h(
    "div",
    null,
    h("header", { class: "head" }, h("p", { class: "kicker" }, "Search"), h("h1", { class: "medium" }, `“${words}”`)),
    found.artists.length
      ? section("Artists", h("p", { class: "names" }, found.artists.map((a) => h("a", { href: href("artists", a.id) }, a.name))))
      : null,
    found.albums.length ? section("Albums", albumGrid(app, found.albums)) : null,
    found.tracks.length
      ? section("Tracks", trackList(app, found.tracks, { lead: "cover", play: (i) => app.player.playAll(found.tracks, i) }))
      : null,
  );
}

/** @param {string} title @param {Node} content */
function section(title, content) {
  return h("section", { class: "part" }, h("h2", null, title), content);
}
