/**
 * Loudness normalisation by the element's volume: only ever down, so nothing clips. Pure.
 * @module
 */

/** Loudness aimed at, LUFS. */
export const TARGET_LUFS = -14;
/** Highest true peak let through, dBTP: lossy decoding overshoots. */
export const PEAK_CEILING_DBTP = -1;

/** @typedef {"off" | "track" | "album"} Normalization */

/**
 * The factor to multiply the volume with.
 * @param {import("../api.js").TrackSummary | null} track
 * @param {Normalization} mode `album` falls back to the track's own figures
 * @returns {number} in (0, 1]
 */
export function gain(track, mode) {
  if (!track || mode === "off") return 1;
  const measured = (mode === "album" && track.loudness?.album) || track.loudness?.track;
  const lufs = measured?.integrated_lufs;
  if (typeof lufs !== "number") return 1;
  const peak = measured?.true_peak_dbtp;
  const room = typeof peak === "number" ? PEAK_CEILING_DBTP - peak : 0;
  const decibels = Math.min(0, TARGET_LUFS - lufs, room);
  return 10 ** (Math.max(decibels, -24) / 20);
}
