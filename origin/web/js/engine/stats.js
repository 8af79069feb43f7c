/**
 * What is measured while playing: time to first sound, rebuffering, protocol, cache status. For
 * the panel, for tests and for benchmarks; decides nothing.
 * @module
 */

import { Emitter } from "./emitter.js";

/** Longest time that first sound is watched for at fine grain, ms. */
const WATCH_MS = 30_000;

/**
 * @typedef {object} Sound
 * @property {"start" | "play" | "seek"} cause
 * @property {number} asked ms since navigation when it was asked for
 * @property {number} startup_ms from then until the clock moved
 */

/** Emits `sound` {Sound} when sound follows a request for it. */
export class Stats extends Emitter {
  #element;
  #stream;
  #chooser;
  /** @type {{cause: "start" | "play" | "seek", at: number} | null} */
  #asked = null;
  /** @type {Sound | null} */
  sound = null;
  /** Ms from navigation to the first sound of the page. */
  firstSoundMs = 0;
  rebuffers = 0;
  /** Tracks that followed without the listener's doing. */
  advances = 0;
  cacheStatus = "";
  protocol = "";
  bytes = 0;

  /**
   * @param {HTMLMediaElement} element
   * @param {import("./stream.js").Stream | import("./native.js").NativeStream} stream
   * @param {import("./chooser.js").Chooser} chooser
   */
  constructor(element, stream, chooser) {
    super();
    this.#element = element;
    this.#stream = stream;
    this.#chooser = chooser;
    stream.on("transfer", ({ bytes, cacheStatus }) => {
      this.bytes += bytes;
      if (cacheStatus) this.cacheStatus = cacheStatus;
    });
    for (const event of ["playing", "seeked", "canplay"]) element.addEventListener(event, () => this.#watch());
    this.#observe();
  }

  /** Seconds appended ahead of the playhead. */
  get buffer() {
    return this.#stream.ahead;
  }

  /** Throughput in bit/s; null when nothing is known. */
  get throughput() {
    return this.#chooser.throughput;
  }

  /** @param {"start" | "play" | "seek"} cause */
  asked(cause) {
    this.#asked = { cause, at: performance.now() };
    if (cause !== "start") this.#watch();
  }

  rebuffered() {
    this.rebuffers += 1;
  }

  advanced() {
    this.advances += 1;
  }

  /** Polls the clock until it moves: `timeupdate` alone comes up to 250 ms late. */
  #watch() {
    const asked = this.#asked;
    if (!asked || this.#element.paused) return;
    const from = this.#element.currentTime;
    const poll = () => {
      if (this.#asked !== asked || performance.now() - asked.at > WATCH_MS) return;
      const { currentTime, seeking, paused } = this.#element;
      if (!seeking && !paused && currentTime > from && currentTime < from + 2) return this.#heard(asked);
      if (!paused) setTimeout(poll, 4);
    };
    poll();
  }

  /** @param {{cause: "start" | "play" | "seek", at: number}} asked */
  #heard(asked) {
    const now = performance.now();
    this.#asked = null;
    this.sound = { cause: asked.cause, asked: asked.at, startup_ms: now - asked.at };
    this.firstSoundMs ||= now;
    this.emit("sound", this.sound);
  }

  /** The protocol of media requests, as the browser reports it. */
  #observe() {
    if (!globalThis.PerformanceObserver) return;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { name, nextHopProtocol } = /** @type {PerformanceResourceTiming} */ (entry);
        if (name.includes("/media/") && nextHopProtocol) this.protocol = nextHopProtocol;
      }
      // The browser stops recording when its own list is full.
      performance.clearResourceTimings?.();
    }).observe({ type: "resource" });
  }
}
