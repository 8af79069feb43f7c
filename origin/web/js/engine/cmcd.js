/**
 * Common Media Client Data (CTA-5004, version 1) as request headers. The player and the media are
 * of one origin, so headers cost no preflight, and they stay out of URLs and cache keys. Pure.
 * @module
 */

/**
 * @typedef {object} MediaRequest
 * @property {"a" | "i"} type audio, or init (head) only
 * @property {number} bitrate encoded rate of the rendition, bit/s
 * @property {number} top highest rate of the ladder, bit/s
 * @property {number} [duration] seconds of sound asked for
 * @property {number} buffer seconds ahead of the playhead
 * @property {number | null} throughput measured, bit/s
 * @property {boolean} startup needed before sound can start or resume
 * @property {boolean} starved the buffer ran empty since the last request
 * @property {string} [nextRange] bytes asked for next, `12-345`
 * @property {string} content which track
 */

const SESSION_ID = newSessionId();

/**
 * @param {MediaRequest} request
 * @returns {Record<string, string>} headers
 */
export function cmcdHeaders(request) {
  const hundred = (/** @type {number} */ n) => Math.round(n / 100) * 100;
  const kbps = (/** @type {number} */ bps) => Math.round(bps / 1000);
  const buffer = request.type === "a" ? hundred(request.buffer * 1000) : null;
  return compact({
    "CMCD-Object": join([
      `br=${kbps(request.bitrate)}`,
      request.duration ? `d=${Math.round(request.duration * 1000)}` : "",
      `ot=${request.type}`,
      `tb=${kbps(request.top)}`,
    ]),
    "CMCD-Request": join([
      buffer === null ? "" : `bl=${buffer}`,
      buffer === null || request.startup ? "" : `dl=${buffer}`,
      request.throughput ? `mtp=${hundred(kbps(request.throughput))}` : "",
      request.nextRange ? `nrr="${request.nextRange}"` : "",
      request.startup ? "su" : "",
    ]),
    "CMCD-Session": join([`cid="${request.content}"`, "sf=o", `sid="${SESSION_ID}"`, "st=v"]),
    "CMCD-Status": join([request.starved ? "bs" : ""]),
  });
}

/** @param {string[]} pairs */
function join(pairs) {
  return pairs.filter(Boolean).join(",");
}

/** @param {Record<string, string>} headers */
function compact(headers) {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value));
}

/** A random UUID; `crypto.randomUUID` exists in secure contexts only. */
function newSessionId() {
  if (globalThis.crypto?.randomUUID) return crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
