/**
 * The segment index box (ISO/IEC 14496-12 §8.16.3): which bytes hold which span of time.
 * @module
 */

import { BoxError, find, viewOf } from "./boxes.js";

/**
 * @typedef {object} Reference one subsegment
 * @property {number} start offset of its first byte in the file
 * @property {number} end offset one past its last byte
 * @property {number} ticks its duration, in ticks of the index's timescale
 */

/**
 * @typedef {object} SegmentIndex
 * @property {number} timescale ticks per second
 * @property {number} earliest earliest presentation time, ticks
 * @property {Reference[]} references in order, without gaps in bytes
 */

/**
 * Parses the first `sidx` found at top level.
 * @param {ArrayBuffer | Uint8Array} bytes the file's start, at least up to the end of the index
 * @param {number} [base] offset in the file of `bytes[0]`
 * @returns {SegmentIndex}
 * @throws {BoxError} when there is none, or it is cut short or refers to other indexes
 */
export function parseSidx(bytes, base = 0) {
  const view = viewOf(bytes);
  const box = find(view, ["sidx"]);
  if (!box) throw new BoxError("no segment index");
  const version = view.getUint8(box.body);
  let at = box.body + 4 + 4; // version and flags, reference_ID
  need(box, at, version === 0 ? 16 : 24);
  const timescale = view.getUint32(at);
  if (timescale === 0) throw new BoxError("segment index with timescale 0");
  at += 4;
  const wide = version > 0;
  const read = (/** @type {number} */ p) => (wide ? Number(view.getBigUint64(p)) : view.getUint32(p));
  const earliest = read(at);
  at += wide ? 8 : 4;
  const firstOffset = read(at);
  at += wide ? 8 : 4;
  const count = view.getUint16(at + 2); // after 16 reserved bits
  at += 4;
  need(box, at, count * 12);

  const references = [];
  let start = base + box.end + firstOffset;
  for (let i = 0; i < count; i += 1, at += 12) {
    const word = view.getUint32(at);
    if (word >>> 31) throw new BoxError("segment index refers to another index");
    const size = word & 0x7fffffff;
    references.push({ start, end: start + size, ticks: view.getUint32(at + 4) });
    start += size;
  }
  return { timescale, earliest, references };
}

/**
 * @param {import("./boxes.js").Box} box
 * @param {number} at
 * @param {number} bytes
 */
function need(box, at, bytes) {
  if (at + bytes > box.end) throw new BoxError("segment index is cut short");
}
