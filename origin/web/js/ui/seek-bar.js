/**
 * The line that a track runs along: played, buffered, and where a pointer would take it.
 * @module
 */

import { h } from "../dom.js";
import { clock, spoken } from "../format.js";

/** Buffered ranges drawn. */
const RANGES = 4;
const STEP_S = 5;

/**
 * @param {import("../engine/player.js").Player} player
 * @returns {{node: HTMLElement, update: () => void}}
 */
export function seekBar(player) {
  const buffered = Array.from({ length: RANGES }, () => h("i", { class: "seek-buffered" }));
  const played = h("i", { class: "seek-played" });
  const knob = h("i", { class: "seek-knob" });
  const hover = h("output", { class: "seek-hover", "aria-hidden": "true" });
  const node = h(
    "div",
    { class: "seek", role: "slider", tabindex: "0", "aria-label": "Position", "aria-valuemin": "0" },
    h("div", { class: "seek-track" }, buffered, played),
    knob,
    hover,
  );
  let dragged = /** @type {number | null} */ (null);

  const update = () => {
    const { duration } = player;
    const position = dragged ?? player.position;
    const share = duration ? position / duration : 0;
    node.style.setProperty("--played", String(Math.min(1, share)));
    const ranges = player.buffered;
    buffered.forEach((bar, i) => {
      const [from, to] = ranges[i] ?? [0, 0];
      bar.style.setProperty("--from", String(duration ? from / duration : 0));
      bar.style.setProperty("--to", String(duration ? Math.min(1, to / duration) : 0));
    });
    const whole = Math.floor(position);
    if (node.getAttribute("aria-valuenow") === String(whole) && node.getAttribute("aria-valuemax") === String(Math.floor(duration))) return;
    node.setAttribute("aria-valuenow", String(whole));
    node.setAttribute("aria-valuemax", String(Math.floor(duration)));
    node.setAttribute("aria-valuetext", `${spoken(position)} of ${spoken(duration)}`);
  };

  const at = (/** @type {PointerEvent} */ e) => {
    const box = node.getBoundingClientRect();
    return Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)) * player.duration;
  };
  const point = (/** @type {PointerEvent} */ e) => {
    const seconds = at(e);
    hover.textContent = clock(seconds);
    node.style.setProperty("--hover", String(player.duration ? seconds / player.duration : 0));
    if (dragged !== null) {
      dragged = seconds;
      update();
    }
  };
  node.addEventListener("pointermove", point);
  node.addEventListener("pointerdown", (/** @type {PointerEvent} */ e) => {
    if (e.button !== 0 || !player.track) return;
    node.setPointerCapture(e.pointerId);
    dragged = at(e);
    node.classList.add("dragging");
    point(e);
  });
  node.addEventListener("pointerup", (/** @type {PointerEvent} */ e) => {
    if (dragged === null) return;
    const target = at(e);
    dragged = null;
    node.classList.remove("dragging");
    player.seek(target);
    update();
  });
  node.addEventListener("pointercancel", () => {
    dragged = null;
    node.classList.remove("dragging");
    update();
  });
  node.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    const target = {
      ArrowLeft: player.position - STEP_S,
      ArrowRight: player.position + STEP_S,
      PageDown: player.position - 30,
      PageUp: player.position + 30,
      Home: 0,
      End: player.duration - 1,
    }[e.key];
    if (target === undefined || e.shiftKey) return;
    e.preventDefault();
    e.stopPropagation();
    player.seek(Math.min(Math.max(0, target), player.duration));
  });
  return { node, update };
}
