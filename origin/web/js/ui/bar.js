/**
 * The bar at the foot: what plays, where it is, what can be done about it.
 * @module
 */

import { cover, showCover } from "../cover.js";
import { h, iconButton } from "../dom.js";
import { clock } from "../format.js";
import { href } from "../router.js";
import { qualityButton, queueLink, repeatButton, shuffleButton, transport, volumeControl } from "./controls.js";
import { seekBar } from "./seek-bar.js";

/** Before a track's end by this many seconds, the next one is announced. */
const ANNOUNCE_S = 12;

/**
 * @param {HTMLElement} bar
 * @param {import("../app.js").App} app
 * @param {() => void} openNow shows the full screen
 */
export function fillBar(bar, app, openNow) {
  const { player } = app;
  const seek = seekBar(player);
  const art = cover(null, { class: "small" });
  const title = h("a", { class: "bar-title" });
  const note = h("p", { class: "bar-note" });
  const elapsed = h("span", { class: "time" });
  const open = h("button", { type: "button", class: "bar-open", "aria-label": "Now playing, full screen", title: "Now playing", on: { click: openNow } }, art);
  bar.replaceChildren(
    seek.node,
    h("div", { class: "bar-now" }, open, h("div", { class: "bar-text" }, title, note)),
    h("div", { class: "bar-middle" }, shuffleButton(app), transport(app), repeatButton(app)),
    h("div", { class: "bar-end" }, elapsed, qualityButton(app), volumeControl(app), queueLink(), iconButton("down", "Now playing, full screen", openNow, { class: "bar-up" })),
  );
  bar.querySelector(".bar-now")?.addEventListener("click", (e) => {
    if (matchMedia("(max-width: 760px)").matches) {
      e.preventDefault();
      openNow();
    }
  });

  const showTrack = () => {
    const { track } = player;
    bar.hidden = !track;
    document.body.classList.toggle("with-bar", Boolean(track));
    if (!track) return;
    showCover(art, track, true);
    title.textContent = track.title;
    title.href = track.album ? href("albums", track.album.id) : "#/";
    showNote();
  };
  const showNote = () => {
    const { track } = player;
    if (!track) return;
    const [next] = player.queue.upcoming(1);
    const soon = next && player.status === "playing" && player.duration - player.position < ANNOUNCE_S && player.duration > 2 * ANNOUNCE_S;
    const text = player.status === "error" ? (player.error?.message ?? "") : soon ? `then ${next.track.title}` : (track.artist ?? track.album?.title ?? "");
    bar.classList.toggle("announcing", Boolean(soon));
    if (note.textContent !== text) note.textContent = text;
  };
  const showTime = () => {
    seek.update();
    elapsed.textContent = `${clock(player.position)} / ${clock(player.duration)}`;
    showNote();
  };
  player.on("track", showTrack);
  player.on("queue", showTrack);
  player.on("status", showTime);
  player.on("time", showTime);
  player.on("buffer", seek.update);
  showTrack();
  showTime();
}
