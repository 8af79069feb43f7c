/**
 * Cover art, or a drawn stand-in where there is none.
 * @module
 */

import { h } from "./dom.js";

/**
 * @param {{cover: string | null, title: string} | null} of
 * @param {{class?: string, eager?: boolean}} [options]
 * @returns {HTMLElement} decorative: the title stands beside it
 */
export function cover(of, options = {}) {
  const frame = h("div", { class: `cover ${options.class ?? ""}`, "aria-hidden": "true" });
  showCover(frame, of, options.eager);
  return frame;
}

/**
 * Changes what a cover shows.
 * @param {HTMLElement} frame
 * @param {{cover: string | null, title: string} | null} of
 * @param {boolean} [eager]
 */
export function showCover(frame, of, eager = false) {
  const key = of ? `${of.cover}|${of.title}` : "";
  if (frame.dataset.shows === key) return;
  frame.dataset.shows = key;
  if (!of?.cover) {
    frame.replaceChildren(standIn(of?.title ?? ""));
    return;
  }
  const image = h("img", { src: of.cover, alt: "", loading: eager ? "eager" : "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => frame.replaceChildren(standIn(of.title)), { once: true });
  frame.replaceChildren(image);
}

/** A letter on a colour, both from the title. @param {string} title */
function standIn(title) {
  let hash = 0;
  for (const c of title) hash = (hash * 31 + (c.codePointAt(0) ?? 0)) % 360;
  return h("div", { class: "stand-in", vars: { "--own-hue": hash } }, [...title.trim()][0] ?? "♪");
}
