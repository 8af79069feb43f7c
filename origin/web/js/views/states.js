/**
 * What a page shows while it has nothing to show: waiting, failed, empty.
 * @module
 */

import * as api from "../api.js";
import { h, icon } from "../dom.js";

/**
 * Shows skeletons until an answer is there, or why there is none. An answer kept from before is
 * shown at once and replaced if it has changed.
 * @template T
 * @param {string} path of the API
 * @param {HTMLElement} skeleton
 * @param {(answer: T) => HTMLElement} render
 * @returns {HTMLElement}
 */
export function loaded(path, skeleton, render) {
  const frame = h("div", { class: "loaded" });
  const kept = api.last(path);
  frame.replaceChildren(kept ? render(kept) : skeleton);
  const load = () =>
    api
      .get(path)
      .then((answer) => {
        if (!kept || JSON.stringify(answer) !== JSON.stringify(kept)) frame.replaceChildren(render(answer));
      })
      .catch((error) => {
        if (!kept) frame.replaceChildren(failed(error, () => (frame.replaceChildren(skeleton), load())));
      });
  load();
  return frame;
}

/**
 * @param {unknown} error
 * @param {() => void} retry
 */
export function failed(error, retry) {
  const { status = 0, message = "Something went wrong." } = /** @type {any} */ (error);
  const titles = { 0: "No answer", 404: "Nothing here", 401: "Not yours to hear", 403: "Not yours to hear" };
  const text =
    status === 0 ? "The server can’t be reached. What is buffered plays on; the page tries again when you do." : message;
  return notice(
    titles[status] ?? "That didn’t work",
    [h("p", null, text)],
    status === 404 ? h("a", { class: "solid-button", href: "#/" }, "All albums") : h("button", { type: "button", class: "solid-button", on: { click: retry } }, "Try again"),
  );
}

/**
 * @param {string} title
 * @param {Node[]} text
 * @param {Node} [action]
 */
export function notice(title, text, action) {
  return h("div", { class: "notice" }, rest(), h("h1", null, title), ...text, action);
}

/** No music yet: how to bring some. */
export function noMusic() {
  const command = "segue ingest ~/Music";
  const copy = h("button", { type: "button", class: "command", title: "Copy" }, h("code", null, command), icon("check"));
  copy.addEventListener("click", () => {
    navigator.clipboard?.writeText(command).then(
      () => copy.classList.add("copied"),
      () => {},
    );
  });
  return notice("A rest, so far", [
    h("p", null, "There is no music here yet. Point Segue at a folder, and what it finds appears on this page:"),
    copy,
    h("p", { class: "quiet" }, "FLAC, WAV, AIFF, ALAC, MP3, AAC, Vorbis and Opus, with the tags and covers they carry."),
  ]);
}

/** A whole-note rest under a tie: the mark of an empty page. */
function rest() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 200 80");
  svg.setAttribute("class", "rest");
  svg.setAttribute("aria-hidden", "true");
  for (const [d, kind] of [
    ["M0 24H200M0 36H200M0 48H200M0 60H200M0 72H200", "staff"],
    ["M86 36h28v8h-28Z", "block"],
  ]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    path.setAttribute("class", kind);
    svg.append(path);
  }
  return svg;
}

/** @param {number} [count] */
export function gridSkeleton(count = 12) {
  const cells = Array.from({ length: count }, () => h("li", { class: "skeleton" }, h("div", { class: "cover" }), h("i"), h("i", { class: "short" })));
  return h("div", { "aria-busy": "true", "aria-label": "Loading" }, h("div", { class: "head skeleton" }, h("i", { class: "tall" })), h("ul", { class: "albums" }, cells));
}

/** @param {number} [count] */
export function listSkeleton(count = 8) {
  const rows = Array.from({ length: count }, () => h("li", { class: "track skeleton" }, h("i")));
  return h("div", { "aria-busy": "true", "aria-label": "Loading" }, h("div", { class: "head skeleton" }, h("i", { class: "tall" })), h("ol", { class: "tracks" }, rows));
}

/** The shape of an album's page. */
export function albumSkeleton() {
  const rows = Array.from({ length: 7 }, () => h("li", { class: "track skeleton" }, h("i")));
  return h(
    "div",
    { class: "album", "aria-busy": "true", "aria-label": "Loading" },
    h("div", { class: "album-side skeleton" }, h("div", { class: "cover" })),
    h("div", { class: "album-main" }, h("div", { class: "head skeleton" }, h("i", { class: "tall" }), h("i", { class: "short" })), h("ol", { class: "tracks" }, rows)),
  );
}
