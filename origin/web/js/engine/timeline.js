/**
 * Where tracks lie on the media element's one clock. Each begins exactly where the valid sound of
 * the one before ends. Pure. Times are whole microseconds, the unit of browsers' buffers, so that
 * nothing drifts over a long queue.
 * @module
 */

/** @typedef {import("./queue.js").Entry} Entry */
/** @typedef {import("../api.js").RenditionSummary} RenditionSummary */

/** A track laid on the clock, and how far it has been appended. */
export class Placed {
  /** Seconds of the track appended so far: where the next segment goes. */
  cursor;
  /** @type {Map<string, import("./rendition.js").Rendition>} opened renditions by id */
  renditions = new Map();
  /** Whether `durationUs` was read from the media rather than announced. */
  exact = false;
  /** Codec of the last segment appended. */
  codecs = "";
  /** @type {{from: number, to: number, rung: RenditionSummary}[]} what was appended, in order */
  #spans = [];

  /**
   * @param {Entry} entry
   * @param {number} startUs
   * @param {number} [cursor] seconds from the track's start
   */
  constructor(entry, startUs, cursor = 0) {
    this.entry = entry;
    this.startUs = startUs;
    this.durationUs = Math.round(entry.track.duration_s * 1e6);
    this.cursor = cursor;
  }

  /** Seconds on the element's clock. */
  get start() {
    return this.startUs / 1e6;
  }

  /** Seconds on the element's clock. */
  get end() {
    return (this.startUs + this.durationUs) / 1e6;
  }

  /** Whether the whole of it has been appended. */
  get done() {
    return this.exact && this.cursor >= this.durationUs / 1e6 - 1e-4;
  }

  /**
   * Takes the length that the media itself states. The first rendition opened decides; others
   * may differ by the rounding of their sample rate.
   * @param {import("./rendition.js").Rendition} rendition
   */
  open(rendition) {
    if (this.exact) return;
    this.durationUs = rendition.durationUs;
    this.exact = true;
  }

  /**
   * Takes note of a segment.
   * @param {number} from seconds from the track's start
   * @param {RenditionSummary} rung
   * @param {number} to
   */
  appended(from, rung, to) {
    this.#spans.push({ from: Math.max(from, this.codecs ? this.cursor : 0), to, rung });
    this.cursor = to;
    this.codecs = rung.codecs;
  }

  /**
   * @param {number} seconds from the track's start
   * @returns {RenditionSummary | null} the rendition appended there
   */
  rungAt(seconds) {
    const span = this.#spans.find((s) => seconds < s.to) ?? this.#spans.at(-1);
    return span?.rung ?? null;
  }

  /**
   * @param {number} seconds from the track's start
   * @returns {number | null} the first end of a segment after it; null past what is appended
   */
  boundaryAfter(seconds) {
    return this.#spans.find((s) => s.to > seconds)?.to ?? null;
  }

  /**
   * Forgets segments from a boundary on.
   * @param {number} boundary seconds from the track's start
   */
  cutAt(boundary) {
    this.#spans = this.#spans.filter((s) => s.to <= boundary);
    this.cursor = boundary;
  }

  /**
   * The same placement with another cursor: what follows a seek.
   * @param {number} cursor seconds from the track's start
   */
  restarted(cursor) {
    const placed = new Placed(this.entry, this.startUs, cursor);
    placed.durationUs = this.durationUs;
    placed.exact = this.exact;
    placed.renditions = this.renditions;
    return placed;
  }
}

/** Tracks in the order they lie on the clock. */
export class Timeline {
  /** @type {Placed[]} */
  placed = [];

  /** @returns {Placed | null} the last one */
  get tail() {
    return this.placed.at(-1) ?? null;
  }

  /** @param {Placed} placed */
  reset(placed) {
    this.placed = [placed];
  }

  /**
   * Lays an entry right behind the last.
   * @param {Entry} entry
   * @returns {Placed}
   */
  push(entry) {
    const tail = this.tail;
    const placed = new Placed(entry, tail ? tail.startUs + tail.durationUs : 0);
    this.placed.push(placed);
    return placed;
  }

  /**
   * The track at an instant; the nearest one outside of all.
   * @param {number} time seconds on the element's clock
   * @returns {Placed | null}
   */
  at(time) {
    for (let i = this.placed.length - 1; i >= 0; i -= 1) {
      if (time >= this.placed[i].start - 1e-4) return this.placed[i];
    }
    return this.placed[0] ?? null;
  }

  /**
   * Forgets tracks before one.
   * @param {Placed} placed
   */
  dropBefore(placed) {
    const at = this.placed.indexOf(placed);
    if (at > 0) this.placed.splice(0, at);
  }

  /**
   * Cuts off whatever follows `current` but isn't what should.
   * @param {Placed} current
   * @param {Entry[]} upcoming what should follow it
   * @returns {Placed | null} the first one cut off
   */
  agree(current, upcoming) {
    const from = this.placed.indexOf(current) + 1;
    for (let i = from; i < this.placed.length; i += 1) {
      if (this.placed[i].entry.key === upcoming[i - from]?.key) continue;
      const cut = this.placed[i];
      this.placed.length = i;
      return cut;
    }
    return null;
  }
}
