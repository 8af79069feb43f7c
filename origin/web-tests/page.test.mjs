// The pages' pure parts, and that the page announces all of its modules.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { dominant } from "../web/js/accent.js";
import { clock, length, quality, rate, year } from "../web/js/format.js";

const WEB = fileURLToPath(new URL("../web/", import.meta.url));

test("times, lengths and rates read well", () => {
  assert.equal(clock(187.9), "3:07");
  assert.equal(clock(3723), "1:02:03");
  assert.equal(clock(NaN), "0:00");
  assert.equal(length(38), "1 min");
  assert.equal(length(20), "20 s");
  assert.equal(length(4320), "1 h 12 min");
  assert.equal(year("2024-05-01"), "2024");
  assert.equal(year(null), "");
  assert.equal(rate(960_000), "960 kbit/s");
  assert.equal(rate(27_500_000), "27.5 Mbit/s");
  assert.equal(quality({ id: "opus-96", codecs: "opus", bitrate: 91_234 }), "Opus 96 kbit/s");
  assert.equal(quality({ id: "flac", codecs: "fLaC", bitrate: 900_000, sample_rate: 44_100 }), "FLAC 44.1 kHz");
  assert.equal(quality({ id: "aac-64", codecs: "mp4a.40.5", bitrate: 64_000 }), "HE-AAC 64 kbit/s");
});

test("a cover's colour is its own; grey has none", () => {
  const flat = (r, g, b) => Uint8ClampedArray.from({ length: 400 }, (_, i) => [r, g, b, 255][i % 4]);
  assert.equal(dominant(flat(120, 120, 120)), null);
  const red = dominant(flat(200, 30, 30));
  const blue = dominant(flat(30, 60, 200));
  assert.ok(red.hue > 15 && red.hue < 40, `red at ${red.hue}`);
  assert.ok(blue.hue > 250 && blue.hue < 280, `blue at ${blue.hue}`);
});

test("every module is announced in the page, so that none waits for another", () => {
  const page = readFileSync(join(WEB, "index.html"), "utf8");
  const announced = [...page.matchAll(/rel="modulepreload" href="\/assets\/([^"]+)"/g)].map((m) => m[1]).sort();
  const needed = new Set();
  const visit = (name) => {
    if (needed.has(name)) return;
    needed.add(name);
    const source = readFileSync(join(WEB, name), "utf8");
    for (const [, from] of source.matchAll(/^(?:import|export)\s[^;]*?from "([^"]+)";/gm)) visit(posix.join(posix.dirname(name), from));
  };
  visit("js/main.js");
  assert.deepEqual(announced, [...needed].sort());
});

test("modules are small, and none talks to anybody but its own origin", () => {
  for (const name of readdirSync(WEB, { recursive: true }).filter((n) => /\.(js|css|html)$/.test(n))) {
    const source = readFileSync(join(WEB, name), "utf8");
    assert.ok(source.split("\n").length < 600, `${name} is long`);
    assert.ok(!/["'(]https?:\/\/(?!www\.w3\.org)/.test(source), `${name} names another host`);
  }
});
