/**
 * Media for the mock server: short synthesised music, encoded by ffmpeg and repackaged into the
 * layout that the player expects (`ftyp moov sidx (moof mdat)*`, an edit list, a 1.92 s grid for
 * the first two segments and 3.84 s after). Kept in the system's temporary directory.
 * @module
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { boxes, find, viewOf } from "../web/js/engine/boxes.js";

const RATE = 48_000;
const GRID_S = 1.92;

/** Encoders of the ladder. Bit rates in kbit/s. */
export const LADDER = [
  { id: "opus-32", codecs: "opus", args: ["-c:a", "libopus", "-b:a", "32k"] },
  { id: "opus-64", codecs: "opus", args: ["-c:a", "libopus", "-b:a", "64k"] },
  { id: "opus-96", codecs: "opus", args: ["-c:a", "libopus", "-b:a", "96k"] },
  { id: "opus-160", codecs: "opus", args: ["-c:a", "libopus", "-b:a", "160k"] },
  { id: "aac-128", codecs: "mp4a.40.2", args: ["-c:a", "aac", "-b:a", "128k"] },
  { id: "flac", codecs: "fLaC", args: ["-c:a", "flac", "-frame_size", "4608", "-strict", "-2"] },
];

const SEAM = 12 * RATE + 311;

/** @typedef {(t: number, channel: number) => number} Voice amplitude at `t` seconds */

/** Sounds by name: what they sound like, and their length in samples.
 * @type {Record<string, {voice: Voice, samples: number}>} */
const SOUNDS = {
  // A plain tone, cut in two at a sample that is no multiple of any frame: what is tested for gaps.
  "tone-a": { voice: tone(0), samples: SEAM },
  "tone-b": { voice: tone(SEAM / RATE), samples: 9 * RATE + 77 },
  "piece-1": { voice: chords([220, 277.18, 329.63], 0.35), samples: 63 * RATE + 501 },
  "piece-2": { voice: chords([196, 246.94, 293.66], 0.22), samples: 88 * RATE + 19 },
  "piece-3": { voice: chords([174.61, 220, 261.63], 0.5), samples: 41 * RATE + 7 },
};

/** @param {number} shift seconds @returns {Voice} */
function tone(shift) {
  return (t) => 0.3 * Math.sin(2 * Math.PI * 440 * (t + shift));
}

/**
 * @param {number[]} notes Hz
 * @param {number} pulse Hz
 * @returns {Voice}
 */
function chords(notes, pulse) {
  const { PI, exp, sin } = Math;
  return (t, channel) => {
    let sum = 0.05 * sin(2 * PI * notes[0] * 4 * t) * exp(-3 * ((t * pulse * 4) % 1));
    notes.forEach((f, i) => {
      sum += 0.09 * sin(2 * PI * f * t + channel) * (0.6 + 0.4 * sin(2 * PI * pulse * (i + 1) * 0.5 * t + i));
    });
    return sum;
  };
}

const DIRECTORY = join(tmpdir(), "segue-web-fixtures-4");

/**
 * @typedef {object} Media one encoded rendition
 * @property {string} id
 * @property {string} codecs
 * @property {Buffer} bytes
 * @property {number} initEnd
 * @property {number} indexEnd
 * @property {number} startBytes
 * @property {number} peak bit/s
 */

/** @type {Map<string, Media>} */
const opened = new Map();

/** @returns {string[]} */
export function soundNames() {
  return Object.keys(SOUNDS);
}

/** @param {string} sound @returns {number} seconds of valid sound */
export function soundDuration(sound) {
  return SOUNDS[sound].samples / RATE;
}

/**
 * One rendition of a sound, encoded on first use.
 * @param {string} sound
 * @param {string} rendition
 * @returns {Media}
 */
export function media(sound, rendition) {
  const key = `${sound}/${rendition}`;
  let found = opened.get(key);
  if (!found) opened.set(key, (found = open(sound, rendition)));
  return found;
}

/** Whether ffmpeg is here, without which there are no fixtures. */
export function available() {
  try {
    execFileSync("ffmpeg", ["-version"], { stdio: "ignore" });
    return true;
  } catch {
    return existsSync(join(DIRECTORY, "tone-a-opus-96.mp4"));
  }
}

/**
 * @param {string} sound
 * @param {string} rendition
 * @returns {Media}
 */
function open(sound, rendition) {
  const path = join(DIRECTORY, `${sound}-${rendition}.mp4`);
  if (!existsSync(path)) {
    mkdirSync(DIRECTORY, { recursive: true });
    const packed = repackage(encode(sound, rendition), SOUNDS[sound].samples);
    writeFileSync(`${path}.${process.pid}`, packed);
    renameSync(`${path}.${process.pid}`, path);
  }
  const bytes = readFileSync(path);
  const view = viewOf(bytes);
  const moov = find(view, ["moov"]);
  const sidx = find(view, ["sidx"]);
  const count = view.getUint16(sidx.body + 22);
  const size = (/** @type {number} */ i) => view.getUint32(sidx.body + 24 + i * 12) & 0x7fffffff;
  let startBytes = sidx.end;
  for (let i = 0; i < Math.min(2, count); i += 1) startBytes += size(i);
  let peak = 0;
  for (let i = 0; i < count; i += 1) {
    const seconds = view.getUint32(sidx.body + 28 + i * 12) / RATE;
    if (seconds > 0.5) peak = Math.max(peak, Math.round((size(i) * 8) / seconds));
  }
  const { codecs } = LADDER.find((r) => r.id === rendition);
  return { id: rendition, codecs, bytes, initEnd: moov.end, indexEnd: sidx.end, startBytes, peak };
}

/**
 * @param {string} sound
 * @param {string} rendition
 * @returns {Buffer} fragmented MP4 as ffmpeg writes it
 */
function encode(sound, rendition) {
  const raw = join(DIRECTORY, `${sound}-${rendition}-${process.pid}.raw.mp4`);
  execFileSync(
    "ffmpeg",
    [
      ...["-v", "error", "-y", "-f", "s16le", "-ar", String(RATE), "-ac", "2", "-i", "pipe:0"],
      ...LADDER.find((r) => r.id === rendition).args,
      ...["-movflags", "+empty_moov+default_base_moof+delay_moov", "-frag_duration", String(GRID_S * 1e6)],
      ...["-fflags", "+bitexact", "-f", "mp4", raw],
    ],
    { input: pcm(sound), stdio: ["pipe", "ignore", "inherit"] },
  );
  const bytes = readFileSync(raw);
  rmSync(raw);
  return bytes;
}

/** @param {string} sound @returns {Buffer} interleaved 16-bit stereo */
function pcm(sound) {
  const { voice, samples } = SOUNDS[sound];
  const out = new Int16Array(samples * 2);
  for (let i = 0; i < samples; i += 1) {
    out[i * 2] = Math.round(32767 * voice(i / RATE, 0));
    out[i * 2 + 1] = Math.round(32767 * voice(i / RATE, 1));
  }
  return Buffer.from(out.buffer);
}

/**
 * Rewrites ffmpeg's fragments: an exact edit list, decode times from 0, and an index whose
 * segments are one fragment, one fragment, then two fragments each.
 * @param {Buffer} source
 * @param {number} valid samples of valid sound
 */
function repackage(source, valid) {
  const view = viewOf(source);
  const top = boxes(view);
  const fragments = [];
  let time = 0;
  for (let i = 0; i < top.length; i += 1) {
    if (top[i].type !== "moof") continue;
    const bytes = source.subarray(top[i].start, top[i + 1].end);
    const ticks = fragmentTicks(bytes);
    setDecodeTime(bytes, time);
    fragments.push({ bytes, ticks });
    time += ticks;
  }
  const moov = rewriteMoov(source, valid);
  const segments = [];
  for (let i = 0; i < fragments.length; ) {
    const take = i < 2 ? 1 : 2;
    const parts = fragments.slice(i, i + take);
    segments.push({
      bytes: Buffer.concat(parts.map((p) => p.bytes)),
      ticks: parts.reduce((sum, p) => sum + p.ticks, 0),
    });
    i += take;
  }
  const ftyp = top.find((b) => b.type === "ftyp");
  return Buffer.concat([
    source.subarray(ftyp.start, ftyp.end),
    moov,
    sidx(segments),
    ...segments.map((s) => s.bytes),
  ]);
}

/** @param {{bytes: Buffer, ticks: number}[]} segments */
function sidx(segments) {
  const box = Buffer.alloc(32 + segments.length * 12);
  box.writeUInt32BE(box.length, 0);
  box.write("sidx", 4, "latin1");
  box.writeUInt32BE(1, 12);
  box.writeUInt32BE(RATE, 16);
  box.writeUInt16BE(segments.length, 30);
  segments.forEach(({ bytes, ticks }, i) => {
    box.writeUInt32BE(bytes.length, 32 + i * 12);
    box.writeUInt32BE(ticks, 36 + i * 12);
    box.writeUInt32BE(0x90000000, 40 + i * 12);
  });
  return box;
}

/** @param {Buffer} fragment `moof mdat` @returns {number} sum of its sample durations */
function fragmentTicks(fragment) {
  const view = viewOf(fragment);
  const tfhd = find(view, ["moof", "traf", "tfhd"]);
  const trun = find(view, ["moof", "traf", "trun"]);
  const tf = view.getUint32(tfhd.body) & 0xffffff;
  let at = tfhd.body + 8 + (tf & 1 ? 8 : 0) + (tf & 2 ? 4 : 0);
  const usual = tf & 8 ? view.getUint32(at) : 0;
  const tr = view.getUint32(trun.body) & 0xffffff;
  const count = view.getUint32(trun.body + 4);
  if (!(tr & 0x100)) return usual * count;
  const stride = 4 * [0x100, 0x200, 0x400, 0x800].filter((f) => tr & f).length;
  at = trun.body + 8 + (tr & 1 ? 4 : 0) + (tr & 4 ? 4 : 0);
  let sum = 0;
  for (let i = 0; i < count; i += 1) sum += view.getUint32(at + i * stride);
  return sum;
}

/** @param {Buffer} fragment @param {number} time */
function setDecodeTime(fragment, time) {
  const view = viewOf(fragment);
  const tfdt = find(view, ["moof", "traf", "tfdt"]);
  if (view.getUint8(tfdt.body)) view.setBigUint64(tfdt.body + 4, BigInt(time));
  else view.setUint32(tfdt.body + 4, time);
}

/**
 * The movie box with the media's timescale throughout and one exact edit.
 * @param {Buffer} source
 * @param {number} valid samples
 */
function rewriteMoov(source, valid) {
  const view = viewOf(source);
  const moov = find(view, ["moov"]);
  const tkhd = find(view, ["moov", "trak", "tkhd"]);
  const mvhd = find(view, ["moov", "mvhd"]);
  const trak = find(view, ["moov", "trak"]);
  const edts = find(view, ["moov", "trak", "edts"]);
  const codec = find(view, ["moov", "trak", "mdia", "minf", "stbl", "stsd"]);
  view.setUint32(mvhd.body + (view.getUint8(mvhd.body) ? 20 : 12), RATE);

  const edit = Buffer.alloc(36);
  edit.writeUInt32BE(36, 0);
  edit.write("edts", 4, "latin1");
  edit.writeUInt32BE(28, 8);
  edit.write("elst", 12, "latin1");
  edit.writeUInt32BE(1, 20);
  edit.writeUInt32BE(valid, 24);
  edit.writeUInt32BE(priming(source.subarray(codec.start, codec.end)), 28);
  edit.writeUInt32BE(0x00010000, 32);

  const grown = 36 - (edts ? edts.end - edts.start : 0);
  const head = Buffer.from(source.subarray(moov.start, tkhd.end));
  head.writeUInt32BE(moov.end - moov.start + grown, 0);
  head.writeUInt32BE(trak.end - trak.start + grown, trak.start - moov.start);
  const rest = [];
  for (const box of boxes(view, tkhd.end, trak.end)) {
    if (box.type !== "edts") rest.push(source.subarray(box.start, box.end));
  }
  return Buffer.concat([head, edit, ...rest, source.subarray(trak.end, moov.end)]);
}

/** @param {Buffer} stsd @returns {number} the encoder's delay in samples */
function priming(stsd) {
  const dops = stsd.indexOf("dOps", 0, "latin1");
  if (dops >= 0) return stsd.readUInt16BE(dops + 6);
  return stsd.includes("mp4a", 0, "latin1") ? 1024 : 0;
}

/** @param {string} text @returns {string} a short digest, for names */
export function digest(text) {
  return createHash("sha256").update(text).digest("hex");
}
