/**
 * The init segment's timing: timescale and the edit that says where valid sound begins and how
 * long it lasts (ISO/IEC 14496-12 §8.6.6).
 * @module
 */

import { BoxError, find, viewOf } from "./boxes.js";

/**
 * @typedef {object} InitTiming all in ticks of `timescale`
 * @property {number} timescale ticks per second of the media
 * @property {number} priming encoder delay that the edit list removes
 * @property {number | null} valid duration of valid sound; null where the file doesn't say
 */

/**
 * Reads `mvhd`, `mdhd` and `elst`.
 * @param {ArrayBuffer | Uint8Array} bytes `ftyp` and `moov`
 * @returns {InitTiming}
 * @throws {BoxError} when there is no track
 */
export function parseInit(bytes) {
  const view = viewOf(bytes);
  const mdhd = find(view, ["moov", "trak", "mdia", "mdhd"]);
  if (!mdhd) throw new BoxError("no track in the init segment");
  const timescale = view.getUint32(mdhd.body + (view.getUint8(mdhd.body) ? 20 : 12));
  if (timescale === 0) throw new BoxError("media timescale 0");
  const mvhd = find(view, ["moov", "mvhd"]);
  const movieScale = mvhd
    ? view.getUint32(mvhd.body + (view.getUint8(mvhd.body) ? 20 : 12)) || timescale
    : timescale;

  const elst = find(view, ["moov", "trak", "edts", "elst"]);
  if (!elst) return { timescale, priming: 0, valid: null };
  const edit = firstEdit(view, elst);
  const valid = Math.round((edit.duration * timescale) / movieScale);
  return { timescale, priming: edit.mediaTime, valid: valid > 0 ? valid : null };
}

/**
 * The first edit that isn't empty (media_time −1).
 * @param {DataView} view
 * @param {import("./boxes.js").Box} elst
 * @returns {{duration: number, mediaTime: number}} movie ticks, media ticks
 */
function firstEdit(view, elst) {
  const wide = view.getUint8(elst.body) === 1;
  const count = view.getUint32(elst.body + 4);
  const size = wide ? 20 : 12;
  let at = elst.body + 8;
  for (let i = 0; i < count && at + size <= elst.end; i += 1, at += size) {
    const duration = wide ? Number(view.getBigUint64(at)) : view.getUint32(at);
    const mediaTime = wide ? Number(view.getBigInt64(at + 8)) : view.getInt32(at + 4);
    if (mediaTime >= 0) return { duration, mediaTime };
  }
  return { duration: 0, mediaTime: 0 };
}

