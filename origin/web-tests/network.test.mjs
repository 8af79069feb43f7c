// Fetching: ranges, resumption, backoff, renewal of the token. Against a fetch that misbehaves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Fetcher } from "../web/js/engine/fetcher.js";
import { Session } from "../web/js/engine/session.js";

const FILE = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);

/**
 * A server in a function.
 * @param {(call: {url: string, start: number, end: number, n: number}) => {status?: number, cut?: number, error?: boolean} | undefined} [behave]
 */
function server(behave = () => undefined) {
  const calls = [];
  let tokens = 0;
  const fetch = async (url, init = {}) => {
    init.signal?.throwIfAborted();
    if (url === "/api/v1/session") {
      tokens += 1;
      return Response.json({ prefix: `/~t${tokens}`, expires_at: 1000 });
    }
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(init.headers.Range).map(Number);
    const call = { url, start, end, n: calls.length };
    calls.push(call);
    const { status = 206, cut, error } = behave(call) ?? {};
    if (error) throw new TypeError("network");
    if (status !== 206) return new Response("{}", { status });
    const last = Math.min(end, FILE.length - 1);
    const bytes = FILE.subarray(start, cut === undefined ? last + 1 : start + cut);
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (sent < bytes.length) controller.enqueue(bytes.slice(sent, sent + 700));
        else if (cut === undefined) controller.close();
        else controller.error(new TypeError("reset"));
        sent += 700;
      },
    });
    return new Response(body, { status, headers: { "content-range": `bytes ${start}-${last}/${FILE.length}` } });
  };
  let now = 0;
  const session = new Session({ fetch, now: () => now });
  const fetcher = new Fetcher(session, { fetch, random: () => 0 });
  const get = (start, end, signal = new AbortController().signal) => fetcher.range({ url: "/media/x.mp4", start, end, signal });
  return { calls, get, session, later: (s) => (now = s), tokens: () => tokens };
}

test("a range arrives whole", async () => {
  const { get, calls } = server();
  assert.deepEqual(await get(100, 3100), FILE.slice(100, 3100));
  assert.deepEqual(calls[0], { url: "/~t1/media/x.mp4", start: 100, end: 3099, n: 0 });
});

test("a range past the file's end is what there is", async () => {
  assert.equal((await server().get(4000, 9000)).length, 1000);
});

test("a broken response goes on where it broke off", async () => {
  const { get, calls } = server(({ n }) => (n === 0 ? { cut: 1400 } : undefined));
  assert.deepEqual(await get(0, 4000), FILE.slice(0, 4000));
  assert.equal(calls.length, 2);
  assert.ok(calls[1].start > 0 && calls[1].start <= 1400, `resumed at ${calls[1].start}`);
});

test("errors that pass are waited out; errors that don't aren't", async () => {
  const flaky = server(({ n }) => (n < 2 ? { status: 503 } : undefined));
  assert.equal((await flaky.get(0, 100)).length, 100);
  assert.equal(flaky.calls.length, 3);
  const gone = server(() => ({ status: 404 }));
  await assert.rejects(gone.get(0, 100), { name: "MediaError", kind: "http", status: 404 });
  assert.equal(gone.calls.length, 1);
});

test("a refused token is renewed once", async () => {
  const expired = server(({ url }) => (url.startsWith("/~t1") ? { status: 403 } : undefined));
  assert.equal((await expired.get(0, 100)).length, 100);
  assert.deepEqual(expired.calls.map((c) => c.url), ["/~t1/media/x.mp4", "/~t2/media/x.mp4"]);
  const banned = server(() => ({ status: 403 }));
  await assert.rejects(banned.get(0, 100), { status: 403 });
  assert.equal(banned.calls.length, 2);
});

test("a token about to expire is renewed before use, once for all who wait", async () => {
  const s = server();
  await Promise.all([s.get(0, 10), s.get(0, 10), s.get(0, 10)]);
  assert.equal(s.tokens(), 1);
  s.later(930);
  await s.get(0, 10);
  s.later(945);
  await Promise.all([s.get(0, 10), s.get(0, 10)]);
  assert.equal(s.tokens(), 2);
});

test("an abort ends a request, also while it waits to try again", async () => {
  const s = server(() => ({ error: true }));
  const abort = new AbortController();
  const pending = s.get(0, 100, abort.signal);
  setTimeout(() => abort.abort(), 20);
  await assert.rejects(pending, { name: "AbortError" });
  assert.equal(s.calls.length, 1);
});
