/**
 * A stand-in for edge and origin: serves the player's files, a catalogue held in memory and media
 * from fixtures.mjs, with knobs for slowness and faults. `node mock-server.mjs [port]` runs it.
 * @module
 */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { cover } from "./covers.mjs";
import { LADDER, digest, media, soundDuration } from "./fixtures.mjs";

const WEB = fileURLToPath(new URL("../web/", import.meta.url));
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webmanifest": "application/manifest+json",
};

const ALBUMS = [
  ["Slow Weather", "Ines Halvorsen", "2024", 215, ["First Light", "Isobars", "A Front Comes In", "The Long Field", "Rain, Then Not", "Lamp Oil"]],
  ["Two Tones", "Test Signals", "2026", 30, ["Tone, Part One", "Tone, Part Two"]],
  ["Arc & Tie", "The Attacca Quartet of Lyon", "2019", 8, ["Prelude", "Without Pause", "Scherzo for Trams", "Nocturne", "Finale: Attacca"]],
  ["Night Ferry", "Mara Okonkwo", "2022", 262, ["Gangway", "Night Ferry", "Deck Chairs", "Harbour Lights"]],
  ["Everything in the Garden Is Growing at Once", "Pell & Daughters", "2021", 120, ["Seeds", "Trellis", "Quince", "Compost", "Bees at Four in the Afternoon, Mostly"]],
  ["Glass Hours", "Ines Halvorsen", "2018", 185, ["Meniscus", "Refraction", "Kiln"]],
  ["Copper", "Odd Lindqvist", "2023", 24, ["Ore", "Wire", "Patina", "Bell"]],
  ["Small Rooms", "Yuki Tanabe", "2025", 330, ["Attic", "Pantry", "Landing", "Box Room"]],
];

/** @param {string} name */
function artistId(name) {
  return `r${digest(name).slice(0, 12)}`;
}

/** @param {{fault?: (path: string) => number | null, latency?: number, rate?: number, empty?: boolean, tokenLife?: number, corrupt?: (path: string, start: number) => boolean}} [knobs] */
export function world(knobs = {}) {
  const albums = knobs.empty ? [] : ALBUMS.map(album);
  const tracks = new Map(albums.flatMap((a) => a.tracks.map((t) => [t.id, t])));
  return {
    /** @type {{fault?: (path: string) => number | null, latency?: number, rate?: number, tokenLife?: number, corrupt?: (path: string, start: number) => boolean}} */
    knobs,
    albums,
    tracks,
    /** @type {any[]} */
    playlists: [],
    nextId: 1,
    tokens: new Set(),
    /** @type {{path: string, range: string, headers: Record<string, string | undefined>, at: number}[]} */
    mediaLog: [],
  };
}

/** @param {[string, string, string, number, string[]]} row @param {number} at */
function album([title, artist, date, hue, names], at) {
  const id = `a${digest(title).slice(0, 12)}`;
  const sounds = title === "Two Tones" ? ["tone-a", "tone-b"] : ["piece-1", "piece-2", "piece-3"];
  const tracks = names.map((name, i) => {
    const sound = sounds[(at + i) % sounds.length];
    return track({ title: name, artist, album: { id, title }, n: i + 1, sound: title === "Two Tones" ? sounds[i] : sound, at, hue });
  });
  const duration_s = tracks.reduce((sum, t) => sum + t.duration_s, 0);
  return { id, title, artist, date, cover: tracks[0].cover, track_count: tracks.length, duration_s, hue, at, tracks };
}

/** @param {any} t */
function track({ title, artist, album, n, sound, at, hue }) {
  const id = `t${digest(album.title + title).slice(0, 20)}`;
  const revision = digest(sound).slice(0, 16);
  const duration_s = soundDuration(sound);
  return {
    id,
    revision,
    title,
    artist,
    artist_id: artistId(artist),
    album,
    track_number: n,
    disc_number: 1,
    duration_s,
    cover: `/api/v1/covers/${at}/${hue}`,
    loudness: { track: { integrated_lufs: -19.2, true_peak_dbtp: -4.1 }, album: { integrated_lufs: -18.8, true_peak_dbtp: -3.0 } },
    sound,
    hls: `/v1/tracks/${id}/index.m3u8`,
    dash: `/v1/tracks/${id}/manifest.mpd`,
  };
}

/** A summary as the API gives it: renditions are encoded when first asked for. */
function summary(t) {
  const { sound, ...rest } = t;
  const renditions = LADDER.map(({ id, codecs }) => {
    const m = media(sound, id);
    return {
      id,
      codecs,
      bitrate: Math.round((m.bytes.length * 8) / t.duration_s),
      peak: m.peak,
      sample_rate: 48_000,
      channels: 2,
      bytes: m.bytes.length,
      url: `/media/${t.id}/${t.revision}/${id}.mp4`,
      start_bytes: m.startBytes,
      init_end: m.initEnd,
      index_end: m.indexEnd,
    };
  });
  return { ...rest, renditions };
}

const listing = ({ id, title, artist, date, cover, track_count, duration_s }) => ({ id, title, artist, artist_id: artistId(artist), date, cover, track_count, duration_s });

/**
 * Starts the server.
 * @param {ReturnType<typeof world>} [w]
 * @param {number} [port]
 */
export async function serve(w = world(), port = 0) {
  const server = createServer((request, response) => {
    handle(w, request, response).catch((error) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(undefined)));
  const { port: bound } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${bound}`,
    world: w,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * @param {ReturnType<typeof world>} w
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function handle(w, request, response) {
  const url = new URL(request.url ?? "/", "http://mock");
  let path = url.pathname;
  const token = /^\/~([^/]+)(\/.*)$/.exec(path);
  if (token) path = token[2];
  const fault = w.knobs.fault?.(path);
  if (fault === -1) return void request.socket.destroy();
  if (fault) return json(response, fault, { error: { code: "fault", message: "an injected fault" } });
  if (w.knobs.latency && /^\/(media|api)/.test(path)) await new Promise((r) => setTimeout(r, w.knobs.latency));
  if (path.startsWith("/media/")) {
    if (!token || !w.tokens.has(token[1])) return json(response, token ? 403 : 401, { error: { code: "token", message: "no" } });
    return sendMedia(w, path, request, response);
  }
  if (path.startsWith("/api/")) return api(w, path.slice("/api/v1".length), url, request, response);
  return file(path, response);
}

/** @param {string} path @param {import("node:http").ServerResponse} response */
async function file(path, response) {
  const name = path === "/" ? "index.html" : path === "/ops" ? "ops.html" : normalize(path.replace(/^\/assets\//, "/"));
  try {
    const bytes = await readFile(join(WEB, name));
    response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "application/octet-stream", "cache-control": "no-cache" });
    response.end(bytes);
  } catch {
    response.writeHead(404).end();
  }
}

async function sendMedia(w, path, request, response) {
  const [, , id, , name] = path.split("/");
  const t = w.tracks.get(id);
  const rendition = name?.replace(".mp4", "");
  if (!t || !LADDER.some((r) => r.id === rendition)) return json(response, 404, { error: { code: "not_found", message: "no such object" } });
  const { bytes } = media(t.sound, rendition);
  const { headers } = request;
  w.mediaLog.push({ path, range: headers.range ?? "", headers: { ...headers }, at: Date.now() });
  const match = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
  const start = match ? Number(match[1]) : 0;
  const end = match ? Math.min(Number(match[2]), bytes.length - 1) : bytes.length - 1;
  response.writeHead(match ? 206 : 200, {
    "content-type": "audio/mp4",
    "content-length": end - start + 1,
    "cache-control": "public, max-age=31536000, immutable",
    "cache-status": '"mock"; hit',
    etag: `"${t.revision}-${rendition}"`,
    "accept-ranges": "bytes",
    ...(match ? { "content-range": `bytes ${start}-${end}/${bytes.length}` } : {}),
  });
  let body = bytes.subarray(start, end + 1);
  if (w.knobs.corrupt?.(path, start)) body = Buffer.from(body).fill(0xff, 4);
  if (!w.knobs.rate) return void response.end(body);
  // A slow line: a slice every 50 ms. The rate may change meanwhile.
  for (let at = 0; at < body.length && !response.destroyed; ) {
    const slice = Math.max(200, Math.round(((w.knobs.rate ?? 1e9) / 8) * 0.05));
    response.write(body.subarray(at, at + slice));
    at += slice;
    await new Promise((r) => setTimeout(r, 50));
  }
  response.end();
}

async function api(w, path, url, request, response) {
  const { method } = request;
  const part = path.split("/").slice(1).map(decodeURIComponent);
  const ok = (/** @type {any} */ body) => json(response, 200, body);
  const missing = () => json(response, 404, { error: { code: "not_found", message: "There is no such thing." } });
  if (path === "/session" && method === "POST") {
    const name = digest(String(Math.random())).slice(0, 24);
    w.tokens.add(name);
    const expires_at = Math.round(Date.now() / 1000) + (w.knobs.tokenLife ?? 3600);
    return ok({ token: name, expires_at, prefix: `/~${name}` });
  }
  if (path === "/albums") return ok({ albums: w.albums.map(listing) });
  if (part[0] === "albums") {
    const found = w.albums.find((a) => a.id === part[1]);
    return found ? ok({ ...listing(found), loudness: found.tracks[0].loudness.album, tracks: found.tracks.map(summary) }) : missing();
  }
  if (path === "/artists") {
    const names = [...new Set(w.albums.map((a) => a.artist))].sort();
    return ok({ artists: names.map((name) => ({ id: artistId(name), name, album_count: w.albums.filter((a) => a.artist === name).length })) });
  }
  if (part[0] === "artists") {
    const albums = w.albums.filter((a) => artistId(a.artist) === part[1]);
    return albums.length ? ok({ id: part[1], name: albums[0].artist, albums: albums.map(listing) }) : missing();
  }
  if (part[0] === "tracks") return w.tracks.has(part[1]) ? ok(summary(w.tracks.get(part[1]))) : missing();
  if (part[0] === "covers") {
    response.writeHead(200, { "content-type": "image/svg+xml", "cache-control": "public, max-age=31536000, immutable" });
    return response.end(cover(Number(part[1]), Number(part[2])));
  }
  if (path === "/search") {
    const q = (url.searchParams.get("q") ?? "").toLowerCase();
    const hit = (/** @type {string} */ s) => s.toLowerCase().includes(q);
    const artists = [...new Set(w.albums.map((a) => a.artist))].filter(hit);
    return ok({
      artists: artists.map((name) => ({ id: artistId(name), name })),
      albums: w.albums.filter((a) => hit(a.title) || hit(a.artist)).map(listing),
      tracks: [...w.tracks.values()].filter((t) => hit(t.title)).map(summary),
    });
  }
  if (part[0] === "playlists") return playlists(w, part.slice(1), request, response);
  return missing();
}

async function playlists(w, [id, what, item], request, response) {
  const { method } = request;
  const body = method === "GET" || method === "DELETE" ? {} : await readJson(request);
  const full = (/** @type {any} */ p) => ({ ...p, items: p.items.map((i) => ({ item_id: i.item_id, track_id: i.track.id, track: summary(i.track) })) });
  const ok = (/** @type {any} */ b, status = 200) => json(response, status, b);
  if (!id) {
    if (method === "GET") {
      return ok({ playlists: w.playlists.map((p) => ({ id: p.id, name: p.name, version: p.version, item_count: p.items.length })) });
    }
    const made = { id: `p${w.nextId++}`, name: body.name, version: 1, items: [] };
    w.playlists.push(made);
    return ok(full(made), 201);
  }
  const list = w.playlists.find((p) => p.id === id);
  if (!list) return json(response, 404, { error: { code: "not_found", message: "no such playlist" } });
  list.version += method === "GET" ? 0 : 1;
  if (method === "DELETE" && !what) {
    w.playlists = w.playlists.filter((p) => p !== list);
    response.writeHead(204);
    return response.end();
  }
  if (method === "PATCH") list.name = body.name;
  if (what === "items" && method === "POST") {
    const added = body.track_ids.map((t) => ({ item_id: `i${w.nextId++}`, track: w.tracks.get(t) }));
    list.items.splice(body.at ?? list.items.length, 0, ...added);
  }
  if (what === "items" && method === "DELETE") list.items = list.items.filter((i) => i.item_id !== item);
  if (what === "order") list.items = body.item_ids.map((i) => list.items.find((x) => x.item_id === i));
  return ok(full(list));
}

function json(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function readJson(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || "{}");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await serve(world(), Number(process.argv[2] ?? 0));
  console.log(server.url);
}
