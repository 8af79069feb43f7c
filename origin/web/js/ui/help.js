/**
 * The keys.
 * @module
 */

import { h } from "../dom.js";
import { openDialog } from "./dialog.js";

const KEYS = [
  ["Space", "Play, pause"],
  ["← →", "Five seconds back, ahead"],
  ["Shift ← →", "Previous, next track"],
  ["↑ ↓", "Louder, quieter"],
  ["M", "Mute"],
  ["F", "Now playing, full screen"],
  ["S", "Shuffle"],
  ["R", "Repeat"],
  ["Q", "Queue"],
  ["I", "Stats for nerds"],
  ["/", "Search"],
  ["?", "This list"],
];

/** Opens the list of keys. */
export function openHelp() {
  if (document.querySelector("dialog.help")) return;
  const rows = KEYS.map(([keys, what]) => h("div", null, h("dt", null, keys.split(/ (?=[^ ])/).map((k) => h("kbd", null, k))), h("dd", null, what)));
  openDialog("Keys", [h("dl", { class: "keys" }, rows)], "narrow help");
}
