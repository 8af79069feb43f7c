// One listener walks the whole path once: catalogue, session, playlists, ranges, and refusals.
//
//     k6 run -e BASE_URL=https://127.0.0.1:8443 loadtest/k6/smoke.js

import { check, group } from 'k6';
import { get, handleSummary, insecureSkipTLSVerify as insecure, json, rendition, resolve, session, text, tracks } from './lib/segue.js';

export { handleSummary };

export const options = {
  insecureSkipTLSVerify: insecure,
  vus: 1,
  iterations: 1,
  thresholds: {
    checks: ['rate==1'],
    http_req_duration: ['p(95)<2000'],
    iterations: ['count==1'],
  },
};

const header = (response, name) => {
  const found = Object.keys(response.headers).find((h) => h.toLowerCase() === name.toLowerCase());
  return found ? response.headers[found] : undefined;
};

function catalogue() {
  const { albums } = json('/api/v1/albums', 'albums');
  check(albums, {
    'albums: there are some': (a) => a.length > 0,
    'albums: id, title, artist, tracks, length': (a) => a.every((x) => x.id && x.title && x.track_count > 0 && x.duration_s > 0),
  });
  const track = tracks(1)[0];
  check(track, {
    'track: HLS and DASH': (t) => t.hls === `/v1/tracks/${t.id}/index.m3u8` && t.dash === `/v1/tracks/${t.id}/manifest.mpd`,
    'track: renditions of several codecs': (t) => new Set(t.renditions.map((r) => r.codecs)).size > 1,
  });
  if (track.cover) check(get(track.cover, 'cover'), { 'cover: 200 without a token': (r) => r.status === 200 });
  return track;
}

function playlists(prefix, track) {
  const path = prefix + track.hls;
  const multivariant = get(path, 'multivariant playlist');
  check(multivariant, {
    'multivariant: 200': (r) => r.status === 200,
    'multivariant: type': (r) => (header(r, 'content-type') || '').startsWith('application/vnd.apple.mpegurl'),
    'multivariant: is one': (r) => text(r).startsWith('#EXTM3U') && text(r).includes('#EXT-X-STREAM-INF:'),
  });
  const lines = text(multivariant).split('\n');
  const uri = lines[lines.findIndex((l) => l.startsWith('#EXT-X-STREAM-INF:')) + 1].trim();
  const mediaPath = resolve(path, uri);
  const media = get(mediaPath, 'media playlist');
  check(media, {
    'media playlist: 200': (r) => r.status === 200,
    'media playlist: byte ranges to the end': (r) => text(r).includes('#EXT-X-BYTERANGE:') && text(r).trimEnd().endsWith('#EXT-X-ENDLIST'),
    'media playlist: inherits the token': () => mediaPath.startsWith(prefix),
  });
  const map = /#EXT-X-MAP:URI="([^"]+)"/.exec(text(media));
  const initPath = resolve(mediaPath, map ? map[1] : '');
  check(get(initPath, 'init', { Range: 'bytes=4-7' }), {
    'media playlist: leads to an MP4': (r) => r.status === 206 && text(r) === 'ftyp' && initPath.startsWith(prefix),
  });
  check(get(prefix + track.dash, 'MPD'), {
    'MPD: 200 and is one': (r) => r.status === 200 && text(r).includes('<MPD'),
  });
}

function ranges(prefix, track) {
  const { url, bytes, start_bytes: start } = rendition(track);
  const path = prefix + url;
  const head = get(path, 'start', { Range: `bytes=0-${start - 1}` });
  const etag = header(head, 'etag');
  check(head, {
    'start: 206 with its range': (r) => r.status === 206 && header(r, 'content-range') === `bytes 0-${start - 1}/${bytes}`,
    'start: all its bytes': (r) => r.body.byteLength === start,
    'start: strong ETag, immutable': (r) => /^"/.test(etag) && /immutable/.test(header(r, 'cache-control') || ''),
    'start: Cache-Status': (r) => /;\s*(hit|fwd=)/.test(header(r, 'cache-status') || ''),
  });
  check(get(path, 'start again', { Range: `bytes=0-${start - 1}` }), {
    'again: a cache hit': (r) => r.status === 206 && /;\s*hit/.test(header(r, 'cache-status') || ''),
  });
  check(get(path, 'suffix', { Range: 'bytes=-10' }), {
    'suffix: the last ten': (r) => r.status === 206 && r.body.byteLength === 10 && header(r, 'content-range') === `bytes ${bytes - 10}-${bytes - 1}/${bytes}`,
  });
  check(get(path, 'open range', { Range: `bytes=${bytes - 5}-` }), {
    'open range: to the end': (r) => r.status === 206 && r.body.byteLength === 5,
  });
  check(get(path, 'beyond', { Range: `bytes=${bytes}-` }), {
    'beyond: 416 with the size': (r) => r.status === 416 && header(r, 'content-range') === `bytes */${bytes}`,
  });
  check(get(path, 'revalidation', { 'If-None-Match': etag }), { 'revalidation: 304': (r) => r.status === 304 });
  check(get(path, 'whole', {}), { 'whole: 200, all bytes': (r) => r.status === 200 && r.body.byteLength === bytes });
}

function refusals(token, track) {
  const { url } = rendition(track);
  const forged = token.slice(0, -8) + (token.endsWith('AAAAAAAA') ? 'BBBBBBBB' : 'AAAAAAAA');
  check(get(url, 'no token', { Range: 'bytes=0-9' }), { 'no token: 401': (r) => r.status === 401 });
  check(get(`/~${forged}${url}`, 'forged token', { Range: 'bytes=0-9' }), { 'forged token: 403': (r) => r.status === 403 });
  check(get(url, 'token in a header', { Range: 'bytes=0-9', 'CTA-Common-Access-Token': token }), {
    'token in a header: 206': (r) => r.status === 206,
  });
  check(get(`/~${token}/media/nothing/here.mp4`, 'unknown object'), { 'unknown object: 404': (r) => r.status === 404 });
}

export default function () {
  const track = group('catalogue', catalogue);
  const { token, prefix } = group('session', session);
  group('playlists', () => playlists(prefix, track));
  group('ranges', () => ranges(prefix, track));
  group('refusals', () => refusals(token, track));
}
