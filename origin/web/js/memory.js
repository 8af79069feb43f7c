/**
 * Remembers the queue and the position over a reload.
 * @module
 */

import { read, write } from "./settings.js";

const STORAGE_KEY = "segue.queue";
/** Entries kept around the current one. */
const KEPT = 100;
const EVERY_MS = 5000;

/** @param {import("./engine/player.js").Player} player */
export function remember(player) {
  const saved = read(STORAGE_KEY);
  if (Array.isArray(saved?.tracks) && saved.tracks.length && saved.version === 1) {
    player.restore(saved.tracks, Number(saved.index) || 0, Number(saved.position) || 0);
  }
  let last = 0;
  const save = () => {
    last = Date.now();
    const { queue } = player;
    const first = Math.max(0, queue.cursor - KEPT / 4);
    const tracks = queue.entries.slice(first, first + KEPT).map((e) => e.track);
    write(STORAGE_KEY, { version: 1, tracks, index: queue.cursor - first, position: player.position });
  };
  player.on("status", save);
  player.on("queue", save);
  player.on("time", () => Date.now() - last > EVERY_MS && save());
  addEventListener("pagehide", save);
}
