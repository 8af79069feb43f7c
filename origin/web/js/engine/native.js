/**
 * The fallback where there is no Media Source at all (iPhone before iOS 17.1): the element plays
 * HLS itself. Same interface as the stream, without its quality control and gapless joints.
 * @module
 */

import { Emitter } from "./emitter.js";

/** @typedef {import("./queue.js").Entry} Entry */

/** Emits `advance` and `error` like [`Stream`]. */
export class NativeStream extends Emitter {
  #element;
  #session;
  /** @type {Entry | null} */
  #entry = null;
  /** @type {Entry[]} */
  #upcoming = [];
  eager = false;
  starved = false;

  /**
   * @param {HTMLMediaElement} element
   * @param {import("./session.js").Session} session
   */
  constructor(element, session) {
    super();
    this.#element = element;
    this.#session = session;
    element.addEventListener("ended", () => {
      const next = this.#upcoming.shift();
      if (!next) return;
      this.start(next);
      element.play().catch(() => {});
      this.emit("advance", { entry: next });
    });
  }

  get position() {
    return this.#element.currentTime;
  }

  get duration() {
    return this.#entry?.track.duration_s ?? 0;
  }

  get buffered() {
    const { buffered } = this.#element;
    return Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)]);
  }

  get bufferedRaw() {
    return this.buffered;
  }

  get ahead() {
    return Math.max(0, (this.buffered.at(-1)?.[1] ?? 0) - this.#element.currentTime);
  }

  get rendition() {
    return null;
  }

  get left() {
    return Infinity;
  }

  /**
   * @param {Entry} entry
   * @param {number} [at]
   */
  start(entry, at = 0) {
    this.#entry = entry;
    this.#session
      .prefix()
      .then((prefix) => {
        if (this.#entry !== entry) return;
        this.#element.src = prefix + entry.track.hls;
        if (at > 0) this.#element.currentTime = at;
        if (this.#element.autoplay) this.#element.play().catch(() => {});
      })
      .catch((error) => this.emit("error", { entry, error, current: true }));
  }

  /** @param {Entry[]} entries */
  setUpcoming(entries) {
    this.#upcoming = [...entries];
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.#element.currentTime = seconds;
  }

  rebuild() {
    if (this.#entry) this.start(this.#entry, this.position);
  }

  prefetch() {}
  requality() {}
  retry() {
    this.rebuild();
  }
  tick() {}
  wake() {}
}
