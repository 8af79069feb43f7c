/**
 * Which of a track's renditions this browser can play, and which family to take.
 * @module
 */

/** @typedef {import("../api.js").RenditionSummary} RenditionSummary */

/** Families in order of preference. FLAC is only ever chosen by the listener. */
const FAMILIES = ["opus", "aac"];

/**
 * The Media Source class of this browser. `ManagedMediaSource` (iPhone, iOS 17.1+) where the
 * plain one is missing.
 * @returns {typeof MediaSource | null}
 */
export function mediaSourceClass() {
  return globalThis.MediaSource ?? globalThis.ManagedMediaSource ?? null;
}

/**
 * @param {string} codecs RFC 6381
 * @returns {"opus" | "aac" | "flac" | "other"}
 */
export function familyOf(codecs) {
  const name = codecs.toLowerCase();
  if (name.startsWith("opus")) return "opus";
  if (name.startsWith("mp4a.40")) return "aac";
  if (name.startsWith("flac")) return "flac";
  return "other";
}

/**
 * The media type to give to a SourceBuffer: browsers differ in the case of `opus` and `fLaC`.
 * @param {string} codecs RFC 6381
 * @param {(type: string) => boolean} [supported]
 * @returns {string | null} null where none is supported
 */
export function mediaType(codecs, supported = defaultSupport) {
  const family = familyOf(codecs);
  const spellings =
    family === "opus" ? ["opus", "Opus"] : family === "flac" ? ["fLaC", "flac"] : [codecs];
  for (const spelling of spellings) {
    const type = `audio/mp4; codecs="${spelling}"`;
    if (supported(type)) return type;
  }
  return null;
}

/**
 * The renditions that Auto chooses among: one playable family, ascending by bit rate.
 * @param {RenditionSummary[]} renditions
 * @param {(type: string) => boolean} [supported]
 * @returns {RenditionSummary[]} empty where nothing is playable
 */
export function autoLadder(renditions, supported = defaultSupport) {
  for (const family of FAMILIES) {
    const rungs = playable(renditions, supported).filter((r) => familyOf(r.codecs) === family);
    if (rungs.length) return rungs;
  }
  return playable(renditions, supported);
}

/**
 * @param {RenditionSummary[]} renditions
 * @param {(type: string) => boolean} [supported]
 * @returns {RenditionSummary[]} ascending by bit rate
 */
export function playable(renditions, supported = defaultSupport) {
  return renditions
    .filter((r) => mediaType(r.codecs, supported) !== null)
    .sort((a, b) => a.bitrate - b.bitrate);
}

/** @type {Map<string, boolean>} */
const known = new Map();

/** @param {string} type */
function defaultSupport(type) {
  let answer = known.get(type);
  if (answer === undefined) {
    answer = mediaSourceClass()?.isTypeSupported(type) ?? false;
    known.set(type, answer);
  }
  return answer;
}
