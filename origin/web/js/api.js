/**
 * The control plane's API as the pages use it. Owns URLs and error text; caches album pages for
 * the length of a visit.
 * @module
 */

/**
 * @typedef {object} RenditionSummary
 * @property {string} id
 * @property {string} codecs RFC 6381
 * @property {number} bitrate average, bit/s
 * @property {number} peak bit/s
 * @property {number} sample_rate
 * @property {number} channels
 * @property {number} bytes
 * @property {string} url path without token
 * @property {number} start_bytes init, index and the first two segments
 * @property {number} init_end
 * @property {number} index_end
 */

/** @typedef {{integrated_lufs: number | null, true_peak_dbtp: number | null}} R128 */

/**
 * @typedef {object} TrackSummary
 * @property {string} id
 * @property {string} revision
 * @property {string} title
 * @property {string | null} artist
 * @property {string} [artist_id]
 * @property {{id: string, title: string} | null} album
 * @property {number | null} track_number
 * @property {number | null} disc_number
 * @property {number} duration_s
 * @property {string | null} cover
 * @property {{track: R128, album: R128 | null}} loudness
 * @property {RenditionSummary[]} renditions
 * @property {string} hls
 * @property {string} dash
 */

/** @typedef {{id: string, title: string, artist: string | null, artist_id?: string, date: string | null, cover: string | null, track_count: number, duration_s: number}} AlbumListing */
/** @typedef {AlbumListing & {tracks: TrackSummary[]}} Album */
/** @typedef {{item_id: string, track: TrackSummary}} PlaylistItem */
/** @typedef {{id: string, name: string, version: number, items: PlaylistItem[]}} Playlist */

const BASE = "/api/v1";
const TIMEOUT_MS = 15_000;
/** Answers kept for going back and forth between pages. */
const KEPT = 40;

/** An answer that isn't what was asked for. `status` 0: no answer at all. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** @type {Map<string, any>} */
const kept = new Map();

/**
 * An answer that early.js has asked for already; good once.
 * @param {string} path
 * @returns {Promise<Response> | null}
 */
function takeEarly(path) {
  const early = /** @type {any} */ (globalThis).__segueEarly;
  const answer = early?.[path] ?? null;
  if (answer) delete early[path];
  return answer;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
async function call(method, path, body, signal) {
  let response;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const early = method === "GET" ? takeEarly(path) : null;
    response = await (early ?? fetch(BASE + path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal && AbortSignal.any ? AbortSignal.any([signal, timeout]) : (signal ?? timeout),
    }));
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server can’t be reached.");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    throw new ApiError(response.status, answer?.error?.message ?? `The server answered ${response.status}.`);
  }
  return answer;
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
async function get(path) {
  const answer = await call("GET", path);
  kept.delete(path);
  kept.set(path, answer);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return answer;
}

const id = encodeURIComponent;

/** @returns {any} the last answer to a path, if it is still kept */
export function last(/** @type {string} */ path) {
  return kept.get(path) ?? null;
}

export const paths = {
  albums: "/albums",
  artists: "/artists",
  playlists: "/playlists",
  album: (/** @type {string} */ a) => `/albums/${id(a)}`,
  artist: (/** @type {string} */ a) => `/artists/${id(a)}`,
  playlist: (/** @type {string} */ p) => `/playlists/${id(p)}`,
};

export { get };

/** @returns {Promise<TrackSummary>} */
export const track = (/** @type {string} */ t) => call("GET", `/tracks/${id(t)}`);

/**
 * @param {string} query
 * @param {AbortSignal} signal
 */
export async function search(query, signal) {
  const found = await call("GET", `/search?q=${id(query)}`, undefined, signal);
  return {
    /** @type {TrackSummary[]} */ tracks: found?.tracks ?? [],
    /** @type {AlbumListing[]} */ albums: found?.albums ?? [],
    /** @type {{id: string, name: string}[]} */ artists: found?.artists ?? [],
  };
}

/** @returns {Promise<Playlist>} */
export const createPlaylist = (/** @type {string} */ name) => call("POST", "/playlists", { name });
/** @returns {Promise<Playlist>} */
export const renamePlaylist = (/** @type {string} */ p, /** @type {string} */ name) =>
  call("PATCH", paths.playlist(p), { name });
export const deletePlaylist = (/** @type {string} */ p) => call("DELETE", paths.playlist(p));
/** @returns {Promise<Playlist>} */
export const addToPlaylist = (/** @type {string} */ p, /** @type {string[]} */ track_ids) =>
  call("POST", `${paths.playlist(p)}/items`, { track_ids });
export const removeFromPlaylist = (/** @type {string} */ p, /** @type {string} */ item) =>
  call("DELETE", `${paths.playlist(p)}/items/${id(item)}`);
/** @returns {Promise<Playlist>} */
export const orderPlaylist = (/** @type {string} */ p, /** @type {string[]} */ item_ids) =>
  call("PUT", `${paths.playlist(p)}/order`, { item_ids });
