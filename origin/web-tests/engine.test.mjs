// The engine's pure parts: index parsing, queue, timeline, rate adaptation on simulated networks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { nextRung, shouldAbandon, startRung } from "../web/js/engine/abr.js";
import { boxes, viewOf } from "../web/js/engine/boxes.js";
import { cmcdHeaders } from "../web/js/engine/cmcd.js";
import { autoLadder, familyOf, mediaType } from "../web/js/engine/codecs.js";
import { gain } from "../web/js/engine/loudness.js";
import { MAX_ENTRIES, Queue } from "../web/js/engine/queue.js";
import { Rendition } from "../web/js/engine/rendition.js";
import { parseSidx } from "../web/js/engine/sidx.js";
import { Throughput } from "../web/js/engine/throughput.js";
import { Placed, Timeline } from "../web/js/engine/timeline.js";

/** Boxes from a list of [type, ...payload bytes or boxes]. */
function box(type, ...parts) {
  const body = Buffer.concat(parts.map((p) => (Array.isArray(p) ? Buffer.from(p) : p)));
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8);
  head.write(type, 4, "latin1");
  return Buffer.concat([head, body]);
}

const u32 = (...values) => {
  const out = Buffer.alloc(values.length * 4);
  values.forEach((v, i) => out.writeUInt32BE(v >>> 0, i * 4));
  return out;
};

const u64 = (value) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
};

function sidx({ version = 0, timescale = 48_000, earliest = 0, offset = 0, references }) {
  const times = version ? [u64(earliest), u64(offset)] : [u32(earliest, offset)];
  const count = Buffer.alloc(4);
  count.writeUInt16BE(references.length, 2);
  return box("sidx", u32(version << 24, 1, timescale), ...times, count, ...references.map(([size, ticks]) => u32(size, ticks, 0x90000000)));
}

function init({ timescale = 48_000, movie = timescale, priming, valid }) {
  const edits = priming === undefined ? [] : [box("edts", box("elst", u32(0, 1, valid, priming, 0x00010000)))];
  return Buffer.concat([
    box("ftyp", Buffer.from("cmfc\0\0\0\0iso6", "latin1")),
    box("moov", box("mvhd", u32(0, 0, 0, movie, 0)), box("trak", ...edits, box("mdia", box("mdhd", u32(0, 0, 0, timescale, 0))))),
  ]);
}

test("an index gives byte ranges and durations, in both versions", () => {
  for (const version of [0, 1]) {
    const head = Buffer.concat([init({}), sidx({ version, offset: 7, references: [[1000, 92_160], [900, 92_160], [50, 11]] })]);
    const { timescale, references } = parseSidx(head);
    assert.equal(timescale, 48_000);
    assert.deepEqual(references[0], { start: head.length + 7, end: head.length + 1007, ticks: 92_160 });
    assert.equal(references[2].start, head.length + 1907);
    assert.equal(references[2].ticks, 11);
  }
});

test("an index that is missing, cut short or nested is refused", () => {
  const whole = sidx({ references: [[10, 10], [10, 10]] });
  assert.throws(() => parseSidx(init({})), /no segment index/);
  assert.throws(() => parseSidx(whole.subarray(0, 40)), /no segment index/);
  const lying = Buffer.from(whole);
  lying.writeUInt16BE(3000, 30);
  assert.throws(() => parseSidx(lying), /cut short/);
  const nested = Buffer.from(whole);
  nested.writeUInt32BE(0x80000010, 32);
  assert.throws(() => parseSidx(nested), /another index/);
  const still = Buffer.from(whole);
  still.writeUInt32BE(0, 16);
  assert.throws(() => parseSidx(still), /timescale 0/);
});

test("no bytes make the box reader loop or throw anything but its own error", () => {
  let seed = 7;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) / 0x7fffffff;
  const good = Buffer.concat([init({ priming: 312, valid: 5 }), sidx({ references: [[1000, 92_160]] })]);
  for (let round = 0; round < 3000; round += 1) {
    const bytes = Buffer.from(good.subarray(0, Math.floor(random() * good.length)));
    for (let i = 0; i < 4 && bytes.length; i += 1) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    try {
      Rendition.parse(bytes, Math.floor(random() * bytes.length));
    } catch (error) {
      assert.equal(error.name, "BoxError", error.stack);
    }
  }
  assert.deepEqual(boxes(viewOf(new Uint8Array(7))), []);
});

test("segments start where the presentation does, priming aside", () => {
  const ticks = [92_160, 92_160, 184_320, 40_000];
  const total = ticks.reduce((a, b) => a + b);
  for (const priming of [312, 2112, 0]) {
    const head = Buffer.concat([init({ priming, valid: total - priming - 100 }), sidx({ references: ticks.map((t) => [100, t]) })]);
    const rendition = Rendition.parse(head, init({ priming, valid: 0 }).length);
    const { segments } = rendition;
    assert.equal(segments[0].from, 0);
    assert.equal(segments[1].from, (92_160 - priming) / 48_000);
    assert.equal(segments[3].to, (total - priming - 100) / 48_000);
    assert.equal(rendition.durationUs, Math.round(((total - priming - 100) * 1e6) / 48_000));
    assert.equal(rendition.segmentAt(0).index, 0);
    assert.equal(rendition.segmentAt(segments[2].from).index, 2);
    assert.equal(rendition.segmentAt(segments[2].from - 0.001).index, 1);
    assert.equal(rendition.segmentAt(rendition.duration), null);
  }
});

test("an index in presentation time isn't shifted twice, and movie ticks are converted", () => {
  const references = [[100, 92_160 - 312], [100, 92_160]];
  const valid = 2 * 92_160 - 312;
  const head = Buffer.concat([init({ movie: 1000, priming: 312, valid: Math.round((valid / 48_000) * 1000) }), sidx({ references })]);
  const rendition = Rendition.parse(head, head.length - sidx({ references }).length);
  assert.equal(rendition.segments[1].from, (92_160 - 312) / 48_000);
  assert.ok(Math.abs(rendition.duration - valid / 48_000) < 0.001);
});

const track = (id, seconds = 100) => ({ id, title: id, duration_s: seconds, renditions: [] });
const ids = (queue) => queue.entries.map((e) => e.track.id).join("");

test("the queue plays on, around, and back", () => {
  const queue = new Queue();
  assert.equal(queue.next(), null);
  queue.replace(["a", "b", "c"].map((x) => track(x)), 1);
  assert.equal(queue.current.track.id, "b");
  assert.deepEqual(queue.upcoming(5).map((e) => e.track.id), ["c"]);
  assert.equal(queue.next().track.id, "c");
  assert.equal(queue.next(), null);
  queue.setRepeat("all");
  assert.deepEqual(queue.upcoming(4).map((e) => e.track.id), ["a", "b", "c", "a"]);
  assert.equal(queue.next().track.id, "a");
  assert.equal(queue.previous().track.id, "c");
  queue.setRepeat("one");
  assert.equal(queue.next().track.id, "c");
  assert.equal(queue.next(true).track.id, "a");
});

test("adding, moving and removing keep the current entry", () => {
  const queue = new Queue();
  queue.replace(["a", "b", "c"].map((x) => track(x)), 1);
  queue.addNext([track("x")]);
  queue.add([track("y")]);
  assert.equal(ids(queue), "abxcy");
  queue.move(queue.entries[0].key, 4);
  assert.equal(ids(queue), "bxcya");
  assert.equal(queue.current.track.id, "b");
  queue.move(queue.entries[4].key, 0);
  queue.remove(queue.entries[0].key);
  assert.equal(queue.current.track.id, "b");
  queue.remove(queue.current.key);
  assert.equal(queue.current.track.id, "x");
  queue.clear();
  assert.equal(ids(queue), "x");
});

test("shuffle keeps what plays, and can be undone", () => {
  let n = 0;
  const queue = new Queue(() => [0.9, 0.1, 0.5, 0.3][n++ % 4]);
  queue.replace([..."abcdefgh"].map((x) => track(x)), 2);
  queue.setShuffled(true);
  assert.equal(queue.current.track.id, "c");
  assert.equal(queue.cursor, 0);
  assert.notEqual(ids(queue), "cabdefgh");
  assert.equal([...ids(queue)].sort().join(""), "abcdefgh");
  queue.setShuffled(false);
  assert.equal(ids(queue), "abcdefgh");
  assert.equal(queue.current.track.id, "c");
});

test("the queue is bounded; what was played makes room", () => {
  const queue = new Queue();
  queue.replace(Array.from({ length: MAX_ENTRIES + 5 }, (_, i) => track(String(i))), 10);
  assert.equal(queue.entries.length, MAX_ENTRIES);
  assert.equal(queue.add([track("x"), track("y")]), 2);
  assert.equal(queue.entries.length, MAX_ENTRIES);
  assert.equal(queue.current.track.id, "10");
  assert.equal(queue.add(Array.from({ length: 50 }, () => track("z"))), 8);
});

test("tracks lie end to end on the clock, to the microsecond, over a long queue", () => {
  const timeline = new Timeline();
  const samples = 9_599_688; // 199.9935 s at 48 kHz: no whole number of µs
  for (let i = 0; i < 500; i += 1) {
    const placed = timeline.push({ key: i, seq: i, track: track("t", 199.99) });
    placed.open({ durationUs: Math.round((samples * 1e6) / 48_000) });
    placed.appended(0, { id: "opus-96", codecs: "opus" }, placed.durationUs / 1e6);
    assert.ok(placed.done);
  }
  const { placed } = timeline;
  for (let i = 1; i < placed.length; i += 1) assert.equal(placed[i].start, placed[i - 1].end);
  const exact = (499 * samples) / 48_000;
  assert.ok(Math.abs(placed[499].start - exact) < 0.0005, `${placed[499].start} is not ${exact}`);
  assert.equal(timeline.at(placed[3].start + 1), placed[3]);
  assert.equal(timeline.at(placed[3].start), placed[3]);
});

test("what no longer follows is cut off the timeline", () => {
  const timeline = new Timeline();
  const entries = [..."abcd"].map((id, key) => ({ key, seq: key, track: track(id) }));
  entries.forEach((e) => timeline.push(e));
  const [a] = timeline.placed;
  assert.equal(timeline.agree(a, entries.slice(1)), null);
  assert.equal(timeline.agree(a, [entries[1], entries[3]]).entry, entries[2]);
  assert.equal(timeline.placed.length, 2);
  assert.equal(timeline.agree(a, []).entry, entries[1]);
});

test("a change of quality cuts at a boundary and is heard where it was appended", () => {
  const placed = new Placed({ key: 1, seq: 1, track: track("t") }, 0);
  const [low, high] = [{ id: "low", codecs: "opus" }, { id: "high", codecs: "fLaC" }];
  placed.appended(0, low, 1.92);
  placed.appended(1.92, low, 3.84);
  placed.appended(3.84, low, 7.68);
  assert.equal(placed.boundaryAfter(2), 3.84);
  placed.cutAt(3.84);
  placed.appended(3.84, high, 7.68);
  assert.equal(placed.rungAt(3).id, "low");
  assert.equal(placed.rungAt(4).id, "high");
  assert.equal(placed.cursor, 7.68);
});

const RUNGS = [32, 64, 96, 160].map((k) => ({ id: `opus-${k}`, bitrate: k * 1000 }));

/**
 * Plays through a network in virtual time.
 * @param {(t: number) => number} rate bit/s at `t` seconds
 * @param {{seconds?: number, rtt?: number, remembered?: number}} [options]
 */
function simulate(rate, { seconds = 240, rtt = 0.05, remembered } = {}) {
  const throughput = new Throughput(remembered ?? null);
  const lengths = [1.92, 1.92, ...Array.from({ length: Math.ceil(seconds / 3.84) }, () => 3.84)];
  let [now, buffer, stalls, switches, delay, heard] = [0, 0, 0, 0, 0, 0];
  let rung = startRung(RUNGS, throughput.estimate);
  const time = { "opus-32": 0, "opus-64": 0, "opus-96": 0, "opus-160": 0 };
  let ceiling = Infinity;
  const spend = (dt) => {
    now += dt;
    if (delay === 0) return;
    if (buffer < dt) stalls += dt - buffer;
    buffer = Math.max(0, buffer - dt);
  };
  for (let i = 0; i < lengths.length; ) {
    if (buffer > 30) {
      spend(buffer - 30);
      continue;
    }
    if (i > 0) {
      const next = nextRung({ rungs: RUNGS, current: rung.id, throughput: throughput.estimate, buffer, segment: lengths[i], cap: ceiling });
      if (next !== rung) switches += 1;
      rung = next;
      ceiling = Infinity;
    }
    const bits = rung.bitrate * lengths[i];
    const begun = now;
    let loaded = 0;
    let abandoned = false;
    spend(rtt);
    while (loaded < bits) {
      loaded += rate(now) * 0.05;
      spend(0.05);
      const at = RUNGS.indexOf(rung);
      const flight = { elapsed: now - begun, loaded: loaded / 8, total: bits / 8, buffer, bitrate: rung.bitrate, lower: RUNGS[at - 1]?.bitrate };
      if (at > 0 && loaded < bits && shouldAbandon(flight)) {
        throughput.sample(Math.max(4096, loaded / 8), now - begun);
        ceiling = rung.bitrate - 1;
        if (i === 0) {
          rung = RUNGS[at - 1];
          ceiling = Infinity;
        }
        abandoned = true;
        break;
      }
    }
    if (abandoned) continue;
    throughput.sample(bits / 8, now - begun);
    buffer += lengths[i];
    heard += lengths[i];
    time[rung.id] += lengths[i];
    if (delay === 0) delay = now;
    i += 1;
  }
  const mean = Object.entries(time).reduce((sum, [id, t]) => sum + Number(id.slice(5)) * t, 0) / heard;
  return { stalls, switches, delay, mean, last: rung.id };
}

test("a fast network is used: the top rung, soon, with few switches", () => {
  const { stalls, switches, mean, delay, last } = simulate(() => 10e6);
  assert.equal(stalls, 0);
  assert.equal(last, "opus-160");
  assert.ok(switches <= 2 && mean > 150 && delay < 0.3, JSON.stringify({ switches, mean, delay }));
});

test("networks just above each rung hardly stall and settle at or below it", () => {
  for (const [rate, most] of [[45e3, 32], [90e3, 64], [140e3, 96], [230e3, 160]]) {
    const { stalls, mean, switches } = simulate(() => rate, { remembered: rate });
    // Sound starts on 1.92 s; on the slowest line the first long segment may come a little late.
    assert.ok(stalls < 0.5, `${rate}: stalls ${stalls}`);
    assert.ok(mean <= most + 1, `${rate}: mean ${mean}`);
    assert.ok(switches < 30, `${rate}: ${switches} switches`);
  }
});

test("a start on a network far slower than hoped gives up early and still plays", () => {
  const { delay, last } = simulate(() => 48e3);
  assert.equal(last, "opus-32");
  assert.ok(delay < 4.5, `first sound after ${delay} s`);
});

test("a collapse in mid-track is survived on the buffer", () => {
  const { stalls, last } = simulate((t) => (t < 40 ? 5e6 : 60e3));
  assert.ok(stalls < 0.2, `stalls ${stalls}`);
  assert.equal(last, "opus-32");
});

test("a lift goes through tunnels", () => {
  const { stalls, mean } = simulate((t) => (t % 45 > 33 ? 0 : 600e3));
  assert.equal(stalls, 0);
  assert.ok(mean > 90, `mean ${mean}`);
});

test("a noisy network makes few switches", () => {
  let seed = 3;
  const noise = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const { stalls, switches, mean } = simulate(() => 60e3 + noise() * 500e3);
  assert.ok(stalls < 0.2 && switches < 12 && mean > 90, JSON.stringify({ stalls, switches, mean }));
});

test("a remembered network decides the first rung, cautiously", () => {
  assert.equal(startRung(RUNGS, null).id, "opus-96");
  assert.equal(startRung(RUNGS, 20e6).id, "opus-160");
  assert.equal(startRung(RUNGS, 120e3).id, "opus-32");
  assert.equal(startRung(RUNGS, 20e6, 64e3).id, "opus-64");
});

test("Opus first, AAC where there is no Opus, FLAC only on request", () => {
  const renditions = [
    ["flac", "fLaC", 900_000],
    ["aac-128", "mp4a.40.2", 128_000],
    ["opus-96", "opus", 96_000],
    ["aac-64", "mp4a.40.5", 64_000],
    ["opus-32", "opus", 32_000],
  ].map(([id, codecs, bitrate]) => ({ id, codecs, bitrate }));
  const all = () => true;
  const names = (list) => list.map((r) => r.id).join(" ");
  assert.equal(names(autoLadder(renditions, all)), "opus-32 opus-96");
  assert.equal(names(autoLadder(renditions, (t) => !/opus/i.test(t))), "aac-64 aac-128");
  assert.equal(names(autoLadder(renditions, (t) => /flac/i.test(t))), "flac");
  assert.equal(mediaType("opus", (t) => t.includes("Opus")), 'audio/mp4; codecs="Opus"');
  assert.equal(mediaType("fLaC", () => false), null);
  assert.equal(familyOf("mp4a.40.5"), "aac");
});

test("loudness only ever goes down, and peaks stay below the ceiling", () => {
  const of = (lufs, peak, album = null) => ({ loudness: { track: { integrated_lufs: lufs, true_peak_dbtp: peak }, album } });
  const db = (x) => Math.round(200 * Math.log10(x)) / 10;
  assert.equal(db(gain(of(-8, -1.5), "track")), -6);
  assert.equal(db(gain(of(-23, -6), "track")), 0);
  assert.equal(db(gain(of(-18, 0.5), "track")), -1.5);
  assert.equal(db(gain(of(-8, -2, { integrated_lufs: -11, true_peak_dbtp: -1 }), "album")), -3);
  assert.equal(db(gain(of(-8, -2), "album")), -6);
  assert.equal(gain(of(-8, -2), "off"), 1);
  assert.equal(gain(of(null, null), "track"), 1);
  assert.equal(gain(null, "track"), 1);
});

test("CMCD headers follow CTA-5004: keys sorted, rates in kbit/s, times rounded to 100 ms", () => {
  const headers = cmcdHeaders({ type: "a", bitrate: 95_700, top: 160_000, duration: 3.84, buffer: 12.345, throughput: 5_432_100, startup: false, starved: true, nextRange: "100-199", content: "t0" });
  assert.equal(headers["CMCD-Object"], "br=96,d=3840,ot=a,tb=160");
  assert.equal(headers["CMCD-Request"], 'bl=12300,dl=12300,mtp=5400,nrr="100-199"');
  assert.equal(headers["CMCD-Status"], "bs");
  assert.match(headers["CMCD-Session"], /^cid="t0",sf=o,sid="[0-9a-f-]{36}",st=v$/);
  const start = cmcdHeaders({ type: "i", bitrate: 1, top: 1, buffer: 0, throughput: null, startup: true, starved: false, content: "t0" });
  assert.equal(start["CMCD-Request"], "su");
  assert.equal(start["CMCD-Status"], undefined);
});
