/**
 * Numbers and dates as people read them. Pure.
 * @module
 */

/** @param {number} seconds @returns {string} `3:07`, `1:02:03` */
export function clock(seconds) {
  const s = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const parts = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
  const [h, m, rest] = parts;
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(rest)}` : `${m}:${two(rest)}`;
}

/** @param {number} seconds @returns {string} `42 min`, `1 h 12 min`, `38 s` */
export function length(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return `${Math.round(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @param {number} seconds @returns {string} for screen readers */
export function spoken(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(s / 60);
  return minutes ? `${minutes} minutes ${s % 60} seconds` : `${s} seconds`;
}

/** @param {string | null | undefined} date ISO 8601 or a year @returns {string} the year */
export function year(date) {
  return /^\d{4}/.exec(date ?? "")?.[0] ?? "";
}

/** @param {number} count @param {string} noun @returns {string} */
export function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * A rendition's codec and rate.
 * @param {{id: string, codecs: string, bitrate: number, sample_rate?: number}} rendition
 * @returns {string} `Opus 96 kbit/s`, `FLAC`
 */
export function quality(rendition) {
  const name = codecName(rendition.codecs);
  const nominal = /-(\d+)$/.exec(rendition.id)?.[1];
  if (name === "FLAC") return rendition.sample_rate ? `FLAC ${khz(rendition.sample_rate)}` : "FLAC";
  return `${name} ${nominal ?? Math.round(rendition.bitrate / 1000)} kbit/s`;
}

/** @param {number} hertz */
function khz(hertz) {
  return `${Number((hertz / 1000).toFixed(1))} kHz`;
}

/** @param {string} codecs RFC 6381 @returns {string} */
export function codecName(codecs) {
  const c = codecs.toLowerCase();
  if (c.startsWith("opus")) return "Opus";
  if (c.startsWith("flac")) return "FLAC";
  if (c === "mp4a.40.5" || c === "mp4a.40.29") return "HE-AAC";
  return c.startsWith("mp4a") ? "AAC" : codecs;
}

/** @param {number | null} bps @returns {string} */
export function rate(bps) {
  if (bps === null) return "–";
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`;
}

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.round(bytes / 1000)} kB`;
}
