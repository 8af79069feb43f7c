/**
 * One MediaSource with one SourceBuffer: a queue of operations that run one after another.
 * Knows nothing of tracks, networks or queues.
 * @module
 */

import { mediaSourceClass } from "./codecs.js";

/** Longer than any session; the real end is announced by [`Source.end`]. Seconds. */
const FOREVER_S = 30 * 24 * 3600;

/**
 * @typedef {object} Piece
 * @property {string} type media type
 * @property {unknown} initKey identifies the init segment that the bytes need
 * @property {Uint8Array} init
 * @property {Uint8Array | null} bytes whole segments; null to prepare the decoder only
 * @property {number} offset seconds added to the media's own times
 * @property {number} from append window: sound before is dropped
 * @property {number} to append window: sound after is dropped
 */

/** A media element's source. */
export class Source {
  /** @type {MediaSource} */
  #media;
  /** @type {SourceBuffer | null} */
  #buffer = null;
  #type = "";
  /** @type {unknown} */
  #initKey = null;
  /** @type {Promise<unknown>} */
  #tail;
  #url = "";
  /** Whether the browser wants data now; only ManagedMediaSource ever says no. */
  streaming = true;

  /**
   * @param {HTMLMediaElement} element
   * @param {() => void} onWanted called when the browser wants data again
   */
  constructor(element, onWanted) {
    const Class = /** @type {typeof MediaSource} */ (mediaSourceClass());
    this.#media = new Class();
    if (!("MediaSource" in globalThis)) {
      element.disableRemotePlayback = true;
      this.streaming = false;
      this.#media.addEventListener("startstreaming", () => {
        this.streaming = true;
        onWanted();
      });
      this.#media.addEventListener("endstreaming", () => (this.streaming = false));
    }
    this.#tail = new Promise((resolve) => {
      this.#media.addEventListener("sourceopen", resolve, { once: true });
    }).then(() => {
      URL.revokeObjectURL(this.#url);
      this.#media.duration = FOREVER_S;
    });
    this.#url = URL.createObjectURL(this.#media);
    element.src = this.#url;
  }

  /** @returns {[number, number][]} buffered ranges, seconds */
  get buffered() {
    const ranges = this.#buffer?.buffered;
    return ranges ? Array.from({ length: ranges.length }, (_, i) => [ranges.start(i), ranges.end(i)]) : [];
  }

  /** Whether another codec can follow in the same buffer. */
  get canChangeType() {
    return "SourceBuffer" in globalThis ? "changeType" in SourceBuffer.prototype : true;
  }

  /**
   * Creates the buffer ahead of the first bytes.
   * @param {string} type
   */
  prepare(type) {
    return this.#run(async () => {
      if (!this.#buffer) this.#create(type);
    });
  }

  /**
   * Appends whole segments.
   * @param {Piece} piece
   * @throws {DOMException} `QuotaExceededError` where the buffer is full
   */
  append(piece) {
    return this.#run(async () => {
      if (!this.#buffer) this.#create(piece.type);
      const buffer = /** @type {SourceBuffer} */ (this.#buffer);
      if (this.#type !== piece.type) {
        buffer.changeType(piece.type);
        this.#type = piece.type;
        this.#initKey = null;
      }
      if (this.ended) buffer.timestampOffset = piece.offset; // re-opens, see `reopen`
      setWindow(buffer, piece);
      if (this.#media.duration < FOREVER_S) this.#media.duration = FOREVER_S;
      if (this.#initKey !== piece.initKey) {
        await this.#append(piece.init);
        this.#initKey = piece.initKey;
      }
      if (piece.bytes) await this.#append(piece.bytes);
    });
  }

  /**
   * Drops what lies in `[from, to)`.
   * @param {number} from seconds
   * @param {number} [to] seconds
   */
  remove(from, to = Infinity) {
    return this.#run(async () => {
      const buffer = this.#buffer;
      if (!buffer?.buffered.length || buffer.buffered.end(buffer.buffered.length - 1) <= from) return;
      if (buffer.buffered.start(0) >= to) return;
      const done = settled(buffer);
      buffer.remove(from, to);
      await done;
    });
  }

  /** Says that nothing follows, so that the element ends where the sound does. */
  end() {
    return this.#run(async () => {
      if (this.#media.readyState === "open" && this.#buffer) this.#media.endOfStream();
    });
  }

  /** Takes [`end`] back, so that a seek beyond the old end isn't cut short. */
  reopen() {
    return this.#run(async () => {
      if (this.#media.readyState !== "ended" || !this.#buffer) return;
      // Setting the offset re-opens an ended source (Media Source Extensions §5.1).
      this.#buffer.timestampOffset = this.#buffer.timestampOffset;
      this.#media.duration = FOREVER_S;
    });
  }

  /** Whether `end` is in force. */
  get ended() {
    return this.#media.readyState === "ended";
  }

  /** @param {string} type */
  #create(type) {
    this.#buffer = this.#media.addSourceBuffer(type);
    this.#type = type;
  }

  /** @param {Uint8Array} bytes */
  async #append(bytes) {
    const buffer = /** @type {SourceBuffer} */ (this.#buffer);
    const done = settled(buffer);
    buffer.appendBuffer(bytes);
    await done;
  }

  /**
   * Runs an operation when the ones before it are over, whatever became of them.
   * @template T
   * @param {() => Promise<T>} operation
   * @returns {Promise<T>}
   */
  #run(operation) {
    const result = this.#tail.then(operation);
    this.#tail = result.catch(() => {});
    return result;
  }
}

/**
 * Sets offset and append window. The window's start must stay below its end at every step.
 * @param {SourceBuffer} buffer
 * @param {Piece} piece
 */
function setWindow(buffer, { offset, from, to }) {
  if (buffer.timestampOffset !== offset) buffer.timestampOffset = offset;
  if (buffer.appendWindowStart === from && buffer.appendWindowEnd === to) return;
  buffer.appendWindowStart = 0;
  buffer.appendWindowEnd = to;
  buffer.appendWindowStart = from;
}

/**
 * @param {SourceBuffer} buffer
 * @returns {Promise<void>} when the operation begun next is over
 */
function settled(buffer) {
  return new Promise((resolve, reject) => {
    const over = (/** @type {() => void} */ then) => () => {
      buffer.removeEventListener("updateend", onEnd);
      buffer.removeEventListener("error", onError);
      buffer.removeEventListener("abort", onError);
      then();
    };
    const onEnd = over(resolve);
    const onError = over(() => reject(new Error("the media could not be decoded")));
    buffer.addEventListener("updateend", onEnd);
    buffer.addEventListener("error", onError);
    buffer.addEventListener("abort", onError); // the element was given another source
  });
}
