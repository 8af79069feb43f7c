/**
 * One rendition opened: its init segment and the table from time to bytes. Pure.
 * @module
 */

import { parseInit } from "./init.js";
import { parseSidx } from "./sidx.js";

/**
 * @typedef {object} Segment
 * @property {number} index from 0
 * @property {number} start offset of its first byte in the file
 * @property {number} end offset one past its last byte
 * @property {number} from presentation time of its first sound, seconds from the track's start
 * @property {number} to presentation time where it ends, seconds
 */

/** The head of a rendition file, `ftyp moov sidx`, parsed. */
export class Rendition {
  /**
   * @param {Uint8Array} init `ftyp` and `moov`
   * @param {import("./init.js").InitTiming} timing
   * @param {import("./sidx.js").SegmentIndex} index
   */
  constructor(init, timing, index) {
    this.init = init;
    /** Ticks a second. */
    this.timescale = timing.timescale;
    /** Microseconds of valid sound, whole: the unit that browsers' buffers count in. */
    this.durationUs = 0;
    /** @type {Segment[]} */
    this.segments = [];
    this.#layOut(timing, index);
  }

  /**
   * @param {Uint8Array} head the file's first bytes, up to the end of the index or beyond
   * @param {number} initEnd length of `ftyp moov` in bytes
   * @returns {Rendition}
   */
  static parse(head, initEnd) {
    const init = head.slice(0, initEnd);
    return new Rendition(init, parseInit(init), parseSidx(head));
  }

  /**
   * Segment starts on the presentation's clock. Media time 0 lies `priming` ticks before the
   * presentation's start. An index whose durations sum to the valid sound alone already counts
   * in presentation time, so its first segment isn't shortened again.
   * @param {import("./init.js").InitTiming} timing
   * @param {import("./sidx.js").SegmentIndex} index
   */
  #layOut(timing, index) {
    const total = index.references.reduce((sum, r) => sum + r.ticks, 0);
    const validTicks = timing.valid ?? total - timing.priming;
    const valid = (validTicks * index.timescale) / timing.timescale;
    const priming = (timing.priming * index.timescale) / timing.timescale;
    const shift = total <= valid ? 0 : priming;
    let ticks = 0;
    this.segments = index.references.map((reference, i) => {
      const from = Math.max(0, ticks - shift) / index.timescale;
      ticks += reference.ticks;
      const to = Math.min(valid, ticks - shift) / index.timescale;
      return { index: i, start: reference.start, end: reference.end, from, to };
    });
    const last = this.segments.at(-1);
    if (last) last.to = valid / index.timescale;
    this.durationUs = Math.round((validTicks * 1e6) / timing.timescale);
  }

  /** Seconds of valid sound. */
  get duration() {
    return this.durationUs / 1e6;
  }

  /**
   * The segment that holds a time. Binary search.
   * @param {number} seconds from the track's start
   * @returns {Segment | null} null at or past the end
   */
  segmentAt(seconds) {
    const { segments } = this;
    if (!segments.length || seconds >= this.duration) return null;
    let low = 0;
    let high = segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (segments[middle].from <= seconds) low = middle;
      else high = middle - 1;
    }
    return segments[low];
  }
}
