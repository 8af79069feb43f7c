/**
 * Keys that work anywhere on the page, except where one types.
 * @module
 */

import { go } from "./router.js";
import { openHelp } from "./ui/help.js";
import { openStats } from "./ui/stats-panel.js";

const SEEK_S = 5;
const VOLUME_STEP = 0.05;

/**
 * @param {import("./app.js").App} app
 * @param {{open: () => void, close: () => boolean}} now
 * @param {HTMLInputElement} finder
 */
export function keyboard(app, now, finder) {
  const { player } = app;
  const repeat = () => player.queue.setRepeat({ off: "all", all: "one", one: "off" }[player.queue.repeat]);
  /** @type {Record<string, () => void>} */
  const keys = {
    " ": () => player.toggle(),
    k: () => player.toggle(),
    ArrowLeft: () => player.seekBy(-SEEK_S),
    ArrowRight: () => player.seekBy(SEEK_S),
    "Shift+ArrowLeft": () => player.previous(),
    "Shift+ArrowRight": () => player.next(),
    ArrowUp: () => player.setVolume(player.volume + VOLUME_STEP),
    ArrowDown: () => player.setVolume(player.volume - VOLUME_STEP),
    m: () => player.toggleMuted(),
    s: () => player.queue.setShuffled(!player.queue.shuffled),
    r: repeat,
    q: () => (now.close(), go("#/queue")),
    f: () => now.close() || now.open(),
    i: () => openStats(app),
    "/": () => (now.close(), finder.focus(), finder.select()),
    "?": openHelp,
    "Shift+?": openHelp,
    Escape: () => now.close(),
  };
  /** @type {EventTarget | null} what the pointer focused last */
  let clicked = null;
  addEventListener("pointerdown", () => (clicked = null), true);
  addEventListener("click", (e) => e.detail > 0 && (clicked = document.activeElement), true);
  addEventListener("focusin", (e) => e.target !== clicked && (clicked = null));
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
    const at = /** @type {HTMLElement} */ (e.target);
    if (typing(at) || document.querySelector("dialog[open]")) return;
    // Space presses the button that the keyboard went to, but not one that was just clicked.
    if (e.key === " " && at.closest("button, a, summary") && at !== clicked) return;
    if (e.key.startsWith("Arrow") && at.matches("input[type=range]")) return;
    const action = keys[(e.shiftKey ? "Shift+" : "") + e.key] ?? (e.shiftKey ? undefined : keys[e.key.toLowerCase()]);
    if (!action) return;
    e.preventDefault();
    action();
  });
}

/** @param {HTMLElement} node */
function typing(node) {
  return node.isContentEditable || (node.matches?.("input, textarea, select") && !node.matches("input[type=range]"));
}
