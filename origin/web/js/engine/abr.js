/**
 * Which rendition next: decided from throughput and buffer. Pure functions of their arguments.
 *
 * Throughput says what can be sustained; the buffer says how much of it to trust. A low buffer
 * spends less of the estimate; a full one rides out a dip without a switch.
 * @module
 */

/**
 * @typedef {object} Rung
 * @property {string} id
 * @property {number} bitrate average, bit/s
 */

/** Share of the throughput estimate spent, by seconds of buffer. */
const CAUTION = [
  { below: 4, share: 0.45 },
  { below: 10, share: 0.6 },
  { below: 20, share: 0.75 },
  { below: Infinity, share: 0.85 },
];
/** The rung without any knowledge of the network, bit/s. */
export const DEFAULT_START_BPS = 96_000;
/** Share of a remembered throughput that a start may spend: the network may have changed. */
const START_SHARE = 0.4;
/** Seconds of buffer before a step up, unless the network is far faster than needed. */
const UP_BUFFER_S = 6;
/** How many times a rung's rate the estimate has to be to step up on a small buffer. */
const UP_SURPLUS = 3;
/** A segment in flight isn't judged before this many seconds. */
const ABANDON_AFTER_S = 0.6;

/**
 * The rung to start on.
 * @param {Rung[]} rungs ascending, not empty
 * @param {number | null} remembered throughput of the last visit, bit/s
 * @param {number} [cap] highest bit/s wanted, for instance where the listener saves data
 * @returns {Rung}
 */
export function startRung(rungs, remembered, cap = Infinity) {
  const budget = remembered === null ? DEFAULT_START_BPS * 1.35 : remembered * START_SHARE;
  return highest(rungs, Math.min(budget, cap));
}

/**
 * The rung for the next segment.
 * @param {object} p
 * @param {Rung[]} p.rungs ascending, not empty
 * @param {string} p.current id of the rung of the last segment
 * @param {number | null} p.throughput bit/s
 * @param {number} p.buffer seconds ahead of the playhead
 * @param {number} p.segment seconds that a segment lasts
 * @param {number} [p.cap] highest bit/s wanted
 * @returns {Rung}
 */
export function nextRung({ rungs, current, throughput, buffer, segment, cap = Infinity }) {
  const now = Math.max(0, rungs.findIndex((r) => r.id === current));
  if (throughput === null) return rungs[now].bitrate <= cap ? rungs[now] : highest(rungs, cap);
  const share = CAUTION.find((c) => buffer < c.below)?.share ?? 0.85;
  const wanted = rungs.indexOf(highest(rungs, Math.min(throughput * share, cap)));

  if (wanted > now) {
    const surplus = throughput >= rungs[wanted].bitrate * UP_SURPLUS;
    return buffer >= UP_BUFFER_S || surplus ? rungs[surplus ? wanted : now + 1] : rungs[now];
  }
  if (wanted < now && rungs[now].bitrate <= cap) {
    // Stay if the buffer outlasts the segment on this rung with plenty to spare.
    const seconds = (rungs[now].bitrate * segment) / throughput;
    if (buffer >= 12 && seconds <= segment * 1.1) return rungs[now];
  }
  return rungs[wanted];
}

/**
 * Whether to give a segment in flight up for the same one on a lower rung.
 * @param {object} p
 * @param {number} p.elapsed seconds since the request
 * @param {number} p.loaded bytes so far
 * @param {number} p.total bytes of the request
 * @param {number} p.buffer seconds ahead of the playhead
 * @param {number} p.bitrate of this rung, bit/s
 * @param {number} p.lower bit rate of the rung below, bit/s
 * @returns {boolean}
 */
export function shouldAbandon({ elapsed, loaded, total, buffer, bitrate, lower }) {
  if (elapsed < ABANDON_AFTER_S || loaded >= total) return false;
  const rate = (loaded * 8) / elapsed;
  if (rate <= 0) return elapsed > Math.max(1.5, buffer * 0.6);
  const left = ((total - loaded) * 8) / rate;
  const instead = (total * (lower / bitrate) * 8) / rate;
  return left > Math.max(0.5, buffer * 0.8) && instead < left * 0.9;
}

/**
 * @param {Rung[]} rungs ascending
 * @param {number} budget bit/s
 * @returns {Rung} the highest within the budget, else the lowest
 */
function highest(rungs, budget) {
  let best = rungs[0];
  for (const rung of rungs) if (rung.bitrate <= budget) best = rung;
  return best;
}
