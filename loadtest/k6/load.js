// Listeners arrive at a rate, whether or not the edge keeps up: each starts a track and fetches on.
//
//     k6 run -e BASE_URL=https://127.0.0.1:8443 -e RATE=20 -e DURATION=1m loadtest/k6/load.js
//
// RATE      listeners a second (default 10)
// DURATION  how long they keep arriving (default 30s)
// SEGMENTS  segments that each fetches after the start (default 5)
// PACE      seconds between segments (default 0.2: far faster than sound)

import { check, sleep } from 'k6';
import { Rate, Trend } from 'k6/metrics';
import { get, handleSummary, insecureSkipTLSVerify as insecure, rendition, session, tracks } from './lib/segue.js';

export { handleSummary };

const RATE = Number(__ENV.RATE || 10);
const SEGMENTS = Number(__ENV.SEGMENTS || 5);
const PACE = Number(__ENV.PACE || 0.2);

const startup = new Trend('startup', true);
const hits = new Rate('cache_hits');

export const options = {
  insecureSkipTLSVerify: insecure,
  scenarios: {
    listeners: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: Math.min(RATE * 4, 500),
      maxVUs: Math.min(RATE * 20, 2000),
    },
  },
  thresholds: {
    checks: [{ threshold: 'rate>0.99', abortOnFail: true, delayAbortEval: '10s' }],
    startup: ['p(95)<500'],
    'http_req_duration{name:segment}': ['p(95)<500'],
    dropped_iterations: ['count==0'],
  },
};

export function setup() {
  return { prefix: session().prefix, tracks: tracks() };
}

// Few tracks are played often, most seldom (Zipf).
function pick(list) {
  const rank = Math.floor(list.length ** Math.random()) - 1;
  return list[Math.min(rank, list.length - 1)];
}

function range(path, start, end, name) {
  const response = get(path, name, { Range: `bytes=${start}-${end - 1}` });
  check(response, {
    [`${name}: 206, all bytes`]: (r) => r.status === 206 && r.body.byteLength === end - start,
  });
  const status = response.headers['Cache-Status'];
  if (status) hits.add(/;\s*hit/.test(status));
  return response;
}

export default function (data) {
  const { url, bytes, start_bytes: start } = rendition(pick(data.tracks));
  const path = data.prefix + url;
  startup.add(range(path, 0, start, 'start').timings.duration);
  const step = Math.max(1, Math.round((bytes - start) / 50));
  for (let i = 0, at = start; i < SEGMENTS && at < bytes; i += 1, at += step) {
    sleep(PACE);
    range(path, at, Math.min(at + step, bytes), 'segment');
  }
}
