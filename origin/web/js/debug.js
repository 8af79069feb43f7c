/**
 * `window.__segue`: what tests and benchmarks look at, and a way to press play without a mouse.
 * Not an interface for anything else.
 * @module
 */

import * as api from "./api.js";

/**
 * @param {import("./engine/player.js").Player} player
 * @param {HTMLMediaElement} element
 */
export function expose(player, element) {
  /** @type {{name: string, at: number}[]} the last events, ms since navigation */
  const events = [];
  const note = (/** @type {string} */ name) => {
    events.push({ name, at: performance.now() });
    if (events.length > 100) events.shift();
  };
  for (const name of ["playing", "waiting", "seeking", "seeked", "ended", "error"]) element.addEventListener(name, () => note(name));
  player.stats.on("sound", () => note("sound"));
  player.on("track", () => note("track"));
  Object.defineProperty(window, "__segue", {
    value: {
      player,
      element,
      events,
      get state() {
        const { stats, track, rendition, queue } = player;
        return {
          status: player.status,
          track: track && { id: track.id, title: track.title },
          position: player.position,
          duration: player.duration,
          currentTime: element.currentTime,
          buffered: player.bufferedRaw,
          rendition: rendition?.id ?? null,
          quality: player.quality,
          queue: { length: queue.entries.length, index: queue.cursor },
          throughput: stats.throughput,
          protocol: stats.protocol,
          cacheStatus: stats.cacheStatus,
          rebuffers: stats.rebuffers,
          advances: stats.advances,
          startupMs: stats.sound?.startup_ms ?? null,
          firstSoundMs: stats.firstSoundMs || null,
          error: player.error?.message ?? null,
        };
      },
      /** @param {string} id of a track */
      async play(id) {
        player.playAll([await api.track(id)]);
      },
    },
  });
}
