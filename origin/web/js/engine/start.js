/**
 * A track's first request: one range that holds init, index and the first segments. It may begin
 * before anybody pressed play, and whoever plays later joins it where it stands.
 * @module
 */

import { Rendition } from "./rendition.js";

/** Starts kept ready. Each holds some 50 kB. */
const KEPT = 4;

/** @typedef {import("../api.js").RenditionSummary} RenditionSummary */

/** One start, in flight or finished. */
export class Start {
  /** @type {Rendition | null} set when the index has arrived */
  rendition = null;
  /** @type {Uint8Array} all bytes so far, from the file's start */
  bytes = new Uint8Array(0);
  finished = false;
  /** @type {unknown} */
  error = null;
  #abort = new AbortController();
  #begun = performance.now();
  /** @type {(() => void) | null} */
  #listener = null;

  /**
   * @param {RenditionSummary} rung
   * @param {(signal: AbortSignal, onProgress: (p: import("./fetcher.js").Progress) => void) => Promise<Uint8Array>} run
   */
  constructor(rung, run) {
    this.rung = rung;
    run(this.#abort.signal, ({ bytes }) => this.#take(bytes))
      .then((bytes) => {
        this.finished = true;
        this.#take(bytes);
      })
      .catch((error) => {
        this.error = error;
        this.#listener?.();
      });
  }

  /** @param {(() => void) | null} listener called on every change from now on */
  onChange(listener) {
    this.#listener = listener;
  }

  /** Seconds since the request was made. */
  get elapsed() {
    return (performance.now() - this.#begun) / 1000;
  }

  /** Ends the request. */
  cancel() {
    this.#abort.abort();
  }

  /** @param {Uint8Array} bytes */
  #take(bytes) {
    this.bytes = bytes;
    if (!this.rendition && bytes.length >= this.rung.index_end) {
      try {
        this.rendition = Rendition.parse(bytes, this.rung.init_end);
      } catch (error) {
        this.error = error;
      }
    }
    this.#listener?.();
  }
}

/** The last few starts, by rendition URL. */
export class Starts {
  /** @type {Map<string, Start>} oldest first */
  #kept = new Map();

  /**
   * @param {string} url
   * @returns {Start | null} one in flight or finished, not one that failed; stays kept
   */
  get(url) {
    const start = this.#kept.get(url);
    return start && !start.error ? start : null;
  }

  /**
   * @param {string} url
   * @param {Start} start
   */
  put(url, start) {
    this.#kept.delete(url);
    this.#kept.set(url, start);
    for (const [key, old] of this.#kept) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(key);
      if (!old.finished) old.cancel();
    }
  }

  /**
   * Gives one up unless it has all its bytes.
   * @param {string} url
   */
  dropUnfinished(url) {
    if (this.#kept.get(url)?.finished === false) this.drop(url);
  }

  /** @param {string} url */
  drop(url) {
    this.#kept.get(url)?.cancel();
    this.#kept.delete(url);
  }
}
