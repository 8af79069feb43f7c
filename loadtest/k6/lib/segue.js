// What every script needs of a Segue edge: its address, a listener's session, its catalogue.

import http from 'k6/http';
import { check, fail } from 'k6';

export const BASE = (__ENV.BASE_URL || 'http://127.0.0.1:8080').replace(/\/+$/, '');

// The development certificate is self-signed; set INSECURE=false against a real one.
export const insecureSkipTLSVerify = __ENV.INSECURE !== 'false';

// One time series for each kind of request rather than for each URL.
export function get(path, name, headers = {}) {
  return http.get(BASE + path, { headers, tags: { name }, responseType: 'binary' });
}

export function text(response) {
  return String.fromCharCode.apply(null, new Uint8Array(response.body || new ArrayBuffer(0)));
}

export function json(path, name) {
  const response = http.get(BASE + path, { tags: { name } });
  if (response.status !== 200) fail(`${path}: status ${response.status}`);
  return response.json();
}

// A listening token; its prefix goes before any path that needs one.
export function session() {
  const response = http.post(`${BASE}/api/v1/session`, null, { tags: { name: 'session' } });
  const sound = check(response, {
    'session: 200 or 201': (r) => r.status === 200 || r.status === 201,
    'session: token, expiry and prefix': (r) =>
      r.status < 300 && !!r.json('token') && r.json('prefix') === `/~${r.json('token')}` && r.json('expires_at') > Date.now() / 1000,
  });
  if (!sound) fail(`no session: ${response.status} ${response.body}`);
  return response.json();
}

// All tracks of the catalogue, summaries as the API gives them.
export function tracks(limit = 50) {
  const albums = json('/api/v1/albums', 'albums').albums;
  const found = [];
  for (const album of albums) {
    if (found.length >= limit) break;
    found.push(...json(`/api/v1/albums/${album.id}`, 'album').tracks);
  }
  if (found.length === 0) fail('the catalogue is empty: ingest something first');
  return found;
}

// A rendition by id, or the first.
export function rendition(track, id = 'opus-96') {
  return track.renditions.find((r) => r.id === id) || track.renditions[0];
}

// Resolves a relative reference as players do.
export function resolve(base, reference) {
  if (reference.startsWith('/')) return reference;
  const parts = base.split('?')[0].split('/').slice(0, -1);
  for (const part of reference.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

// Writes the end-of-test summary as JSON where SUMMARY names a file, and a short one to the terminal.
export function handleSummary(data) {
  const value = (metric, key) => (data.metrics[metric] ? data.metrics[metric].values[key] : undefined);
  const ms = (x) => (x === undefined ? '-' : `${x.toFixed(1)} ms`);
  const checks = data.metrics.checks ? data.metrics.checks.values : { passes: 0, fails: 0 };
  const failedThresholds = Object.entries(data.metrics)
    .filter(([, m]) => m.thresholds && Object.values(m.thresholds).some((t) => !t.ok))
    .map(([name]) => name);
  const failedChecks = [];
  const walk = (group) => {
    group.checks.filter((c) => c.fails > 0).forEach((c) => failedChecks.push(`${c.name} (${c.fails} times)`));
    group.groups.forEach(walk);
  };
  walk(data.root_group);
  const lines = [
    `checks    ${checks.passes} passed, ${checks.fails} failed`,
    ...failedChecks.map((name) => `  failed: ${name}`),
    `requests  ${value('http_reqs', 'count')}, ${(value('http_reqs', 'rate') || 0).toFixed(1)} a second`,
    `duration  median ${ms(value('http_req_duration', 'med'))}, p95 ${ms(value('http_req_duration', 'p(95)'))}, max ${ms(value('http_req_duration', 'max'))}`,
    ...failedThresholds.map((name) => `threshold crossed: ${name}`),
    '',
  ];
  const out = { stdout: lines.join('\n') };
  if (__ENV.SUMMARY) out[__ENV.SUMMARY] = JSON.stringify(data, null, 2);
  return out;
}
