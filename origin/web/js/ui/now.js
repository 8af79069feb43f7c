/**
 * Now playing, full screen: the cover and little else.
 * @module
 */

import { cover, showCover } from "../cover.js";
import { h, iconButton } from "../dom.js";
import { clock } from "../format.js";
import { href } from "../router.js";
import { qualityButton, queueLink, repeatButton, shuffleButton, transport, volumeControl } from "./controls.js";
import { seekBar } from "./seek-bar.js";
import { openTrackMenu } from "./track-menu.js";

/** Upcoming tracks shown. */
const UPCOMING = 4;

/**
 * @param {import("../app.js").App} app
 * @returns {{open: () => void, close: () => boolean}}
 */
export function nowPlaying(app) {
  const { player } = app;
  const seek = seekBar(player);
  const art = cover(null, { class: "huge" });
  const title = h("h2", { class: "now-title" });
  const artist = h("p", { class: "now-artist" });
  const elapsed = h("span", { class: "time" });
  const total = h("span", { class: "time" });
  const next = h("ol", { class: "now-next" });
  const more = iconButton("more", "More", undefined, {
    "aria-haspopup": "menu",
    on: { click: (/** @type {MouseEvent} */ e) => player.track && openTrackMenu(app, /** @type {HTMLElement} */ (e.currentTarget), [player.track]) },
  });
  const leave = iconButton("down", "Close", () => close());
  const node = h(
    "section",
    { class: "now", role: "dialog", "aria-modal": "true", "aria-label": "Now playing", hidden: true },
    h("header", { class: "now-head" }, leave, h("p", { class: "now-from" }), more),
    h("div", { class: "now-art" }, art),
    h(
      "div",
      { class: "now-side" },
      h("div", { class: "now-text" }, title, artist),
      h("div", { class: "now-seek" }, seek.node, h("div", { class: "now-times" }, elapsed, total)),
      h("div", { class: "now-controls" }, shuffleButton(app), transport(app), repeatButton(app)),
      h("div", { class: "now-extra" }, qualityButton(app), volumeControl(app), queueLink()),
      h("div", { class: "now-upcoming" }, h("h3", null, "Next"), next),
    ),
  );
  document.body.append(node);
  /** @type {HTMLElement | null} */
  let back = null;

  const show = () => {
    if (node.hidden) return;
    const { track } = player;
    if (!track) return void close();
    showCover(art, track, true);
    title.textContent = track.title;
    artist.replaceChildren(track.artist_id ? h("a", { href: href("artists", track.artist_id) }, track.artist ?? "") : (track.artist ?? ""));
    const from = node.querySelector(".now-from");
    from?.replaceChildren(track.album ? h("a", { href: href("albums", track.album.id) }, track.album.title) : "");
    const upcoming = player.queue.upcoming(UPCOMING);
    next.replaceChildren(
      ...upcoming.map((e) => h("li", null, h("button", { type: "button", on: { click: () => player.jump(e.key) } }, h("span", null, e.track.title), h("span", { class: "time" }, clock(e.track.duration_s))))),
    );
    next.parentElement?.toggleAttribute("hidden", !upcoming.length);
    time();
  };
  const time = () => {
    if (node.hidden) return;
    seek.update();
    elapsed.textContent = clock(player.position);
    total.textContent = clock(player.duration);
  };
  const open = () => {
    if (!player.track || !node.hidden) return;
    back = /** @type {HTMLElement} */ (document.activeElement);
    node.hidden = false;
    document.body.classList.add("now-open");
    for (const part of document.querySelectorAll(".top, main, .bar")) part.toggleAttribute("inert", true);
    show();
    leave.focus({ preventScroll: true });
  };
  const close = () => {
    if (node.hidden) return false;
    node.hidden = true;
    document.body.classList.remove("now-open");
    for (const part of document.querySelectorAll(".top, main, .bar")) part.toggleAttribute("inert", false);
    back?.focus({ preventScroll: true });
    return true;
  };
  for (const event of ["track", "queue"]) player.on(event, show);
  for (const event of ["time", "status", "buffer"]) player.on(event, time);
  node.addEventListener("click", (/** @type {MouseEvent} */ e) => {
    if (/** @type {HTMLElement} */ (e.target).closest("a")) close();
  });
  swipeDown(node, close);
  return { open, close };
}

/**
 * A finger pulling the page down closes it.
 * @param {HTMLElement} node
 * @param {() => void} done
 */
function swipeDown(node, done) {
  let from = /** @type {number | null} */ (null);
  node.addEventListener("touchstart", (e) => {
    const free = !(/** @type {HTMLElement} */ (e.target).closest(".seek, input, button"));
    from = free && node.scrollTop <= 0 && e.touches.length === 1 ? e.touches[0].clientY : null;
  }, { passive: true });
  node.addEventListener("touchend", (e) => {
    if (from !== null && e.changedTouches[0].clientY - from > 90) done();
    from = null;
  }, { passive: true });
}
