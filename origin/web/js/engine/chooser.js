/**
 * Chooses renditions: what the listener asked for, or what network and buffer allow. Holds the
 * throughput estimate; the rules themselves are in abr.js.
 * @module
 */

import { nextRung, shouldAbandon, startRung } from "./abr.js";
import { autoLadder, playable } from "./codecs.js";
import { Throughput } from "./throughput.js";

/** @typedef {import("../api.js").TrackSummary} TrackSummary */
/** @typedef {import("../api.js").RenditionSummary} RenditionSummary */

/** Faster than this is a cache or this very machine; it only misleads the estimate. bit/s */
const PLAUSIBLE_BPS = 100e6;
/** Answers sooner than this come from the browser's cache. Seconds. */
const CACHE_S = 0.004;
/** Cap where the listener's browser asks to save data, bit/s. */
const SAVE_DATA_BPS = 64_000;

/** The chooser of one player. */
export class Chooser {
  /** `auto`, or the id of a rendition. */
  choice = "auto";
  #throughput;
  #remember;
  /** @type {RenditionSummary | null} the last rung taken in Auto */
  #last = null;
  /** @type {number} upper bound for the next decision only, bit/s */
  #ceiling = Infinity;

  /**
   * @param {number | null} remembered throughput of the last visit, bit/s
   * @param {(bps: number) => void} remember
   */
  constructor(remembered, remember) {
    this.#throughput = new Throughput(remembered);
    this.#remember = remember;
  }

  /** Throughput in bit/s; null when nothing is known. */
  get throughput() {
    return this.#throughput.estimate;
  }

  /**
   * @param {TrackSummary} track
   * @returns {RenditionSummary[]} what may be chosen now, ascending; empty where nothing plays
   */
  ladder(track) {
    if (this.choice === "auto") return autoLadder(track.renditions);
    const all = playable(track.renditions);
    const exact = all.find((r) => r.id === this.choice);
    if (exact) return [exact];
    // A rung that this track does without: the nearest below it, else the lowest.
    const auto = autoLadder(track.renditions);
    const wanted = Number(/\d+$/.exec(this.choice)?.[0] ?? Infinity) * 1000;
    return [auto.filter((r) => r.bitrate <= wanted).at(-1) ?? auto[0]].filter(Boolean);
  }

  /**
   * The rung for a track's first bytes, without consequence for later decisions.
   * @param {TrackSummary} track
   * @param {number} [buffer] seconds ahead of the playhead
   * @returns {RenditionSummary | null}
   */
  peek(track, buffer = 0) {
    const rungs = this.ladder(track);
    if (!rungs.length) return null;
    if (rungs.length === 1) return rungs[0];
    const cap = Math.min(this.#ceiling, saveData() ? SAVE_DATA_BPS : Infinity);
    if (!this.#last) return /** @type {RenditionSummary} */ (startRung(rungs, this.throughput, cap));
    const last = this.#last.bitrate * 1.15;
    const current = rungs.find((r) => r.id === this.#last?.id) ?? rungs.filter((r) => r.bitrate <= last).at(-1) ?? rungs[0];
    const { throughput } = this;
    return /** @type {RenditionSummary} */ (
      nextRung({ rungs, current: current.id, throughput, buffer, segment: 3.84, cap })
    );
  }

  /**
   * The rung for the next segment.
   * @param {TrackSummary} track
   * @param {number} buffer seconds ahead of the playhead
   * @returns {RenditionSummary | null} null where nothing of the track is playable
   */
  next(track, buffer) {
    const rung = this.peek(track, buffer);
    this.#ceiling = Infinity;
    if (rung) this.took(rung);
    return rung;
  }

  /**
   * Takes note of a rung that was taken for another reason than this chooser's.
   * @param {RenditionSummary} rung
   */
  took(rung) {
    if (this.choice === "auto") this.#last = rung;
  }

  /**
   * Takes note of a finished transfer.
   * @param {import("./fetcher.js").Transfer} transfer
   */
  transferred({ bytes, seconds, firstByte }) {
    const cached = firstByte < CACHE_S && seconds < 4 * CACHE_S;
    if (cached && this.#throughput.samples > 0) return;
    this.#throughput.sample(bytes, Math.max(seconds, (bytes * 8) / PLAUSIBLE_BPS));
    if (this.throughput !== null) this.#remember(Math.round(this.throughput));
  }

  /**
   * Whether to give a request in flight up for a lower rung.
   * @param {TrackSummary} track
   * @param {RenditionSummary} rung
   * @param {{elapsed: number, loaded: number, total: number, buffer: number}} flight
   */
  abandons(track, rung, flight) {
    const rungs = this.ladder(track);
    const at = rungs.findIndex((r) => r.id === rung.id);
    if (at <= 0) return false;
    return shouldAbandon({ ...flight, bitrate: rung.bitrate, lower: rungs[at - 1].bitrate });
  }

  /**
   * Takes note of a request given up.
   * @param {RenditionSummary} rung
   * @param {number} loaded bytes
   * @param {number} elapsed seconds
   */
  abandoned(rung, loaded, elapsed) {
    this.#throughput.sample(Math.max(loaded, 4096), elapsed);
    this.#ceiling = rung.bitrate - 1;
  }
}

function saveData() {
  return /** @type {any} */ (globalThis.navigator)?.connection?.saveData === true;
}
