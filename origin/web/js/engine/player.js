/**
 * The player that pages talk to: queue, transport, volume, quality. Turns what listeners do into
 * calls on the stream, and what the element does into one status.
 * @module
 */

import { Chooser } from "./chooser.js";
import { mediaSourceClass } from "./codecs.js";
import { Emitter } from "./emitter.js";
import { Fetcher } from "./fetcher.js";
import { gain } from "./loudness.js";
import { NativeStream } from "./native.js";
import { Queue } from "./queue.js";
import { Stats } from "./stats.js";
import { Stream } from "./stream.js";

/** @typedef {import("../api.js").TrackSummary} TrackSummary */
/** @typedef {"idle" | "loading" | "playing" | "stalled" | "paused" | "ended" | "error"} Status */

/** Entries told to the stream ahead of time; short tracks need more than one. */
const LOOKAHEAD = 6;
/** Before this many seconds `previous` goes to the track before, after it to the start. */
const RESTART_AFTER_S = 3;
/** Tracks skipped in a row because they failed, before the player stops. */
const MAX_SKIPS = 3;
const RETRY_AFTER_MS = 5000;

/**
 * Emits `status`, `track`, `time`, `queue`, `volume`, `quality`, `problem` {message, track}.
 */
export class Player extends Emitter {
  queue = new Queue();
  #element;
  #settings;
  #stream;
  #chooser;
  #wanted = false;
  #sounded = false;
  #ended = false;
  /** @type {Error | null} */
  #error = null;
  #stalled = false;
  #skips = 0;
  #boundary = 0;
  #rebuilds = 0;

  /**
   * @param {HTMLMediaElement} element
   * @param {import("./session.js").Session} session
   * @param {import("../settings.js").Settings} settings
   */
  constructor(element, session, settings) {
    super();
    this.#element = element;
    this.#settings = settings;
    this.#chooser = new Chooser(settings.get("throughput"), (bps) => settings.set("throughput", bps));
    this.#chooser.choice = settings.get("quality");
    this.#stream = mediaSourceClass()
      ? new Stream(element, new Fetcher(session), this.#chooser)
      : new NativeStream(element, session);
    this.stats = new Stats(element, this.#stream, this.#chooser);
    this.#listen();
    this.#applyVolume();
  }

  /** @returns {TrackSummary | null} */
  get track() {
    return this.queue.current?.track ?? null;
  }

  /** @returns {Status} */
  get status() {
    if (!this.queue.current) return "idle";
    if (this.#error) return "error";
    if (this.#ended) return "ended";
    if (!this.#wanted) return "paused";
    if (!this.#sounded) return "loading";
    return this.#stalled ? "stalled" : "playing";
  }

  /** Whether the listener wants sound now, whether or not there is any yet. */
  get wanted() {
    return this.#wanted && !this.#ended;
  }

  get error() {
    return this.#error;
  }

  /** Seconds into the current track. */
  get position() {
    return this.#stream.position;
  }

  /** Seconds of the current track. */
  get duration() {
    return this.#stream.duration || (this.track?.duration_s ?? 0);
  }

  get buffered() {
    return this.#stream.buffered;
  }

  get bufferedRaw() {
    return this.#stream.bufferedRaw;
  }

  /** @returns {import("../api.js").RenditionSummary | null} what is heard now */
  get rendition() {
    return this.#stream.rendition;
  }

  get quality() {
    return this.#chooser.choice;
  }

  /** Volume as the listener set it, 0 to 1. */
  get volume() {
    return this.#settings.get("volume");
  }

  get muted() {
    return this.#settings.get("muted");
  }

  /**
   * Replaces the queue and plays.
   * @param {TrackSummary[]} tracks
   * @param {number} [index]
   */
  playAll(tracks, index = 0) {
    if (!tracks.length) return;
    this.queue.replace(tracks, index);
    this.#begin();
  }

  /**
   * Plays an entry of the queue.
   * @param {number} key
   */
  jump(key) {
    if (this.queue.jump(key)) this.#begin();
  }

  play() {
    if (!this.queue.current) return;
    if (this.#ended || this.#error) return this.#begin(this.#ended ? 0 : this.position);
    this.#wanted = true;
    this.#stream.eager = true;
    this.#stream.wake();
    this.stats.asked("play");
    this.#playElement();
    this.emit("status");
  }

  pause() {
    this.#wanted = false;
    this.#element.autoplay = false;
    this.#element.pause();
    this.emit("status");
  }

  toggle() {
    if (this.wanted) this.pause();
    else this.play();
  }

  next() {
    if (this.queue.next(true)) this.#begin();
  }

  previous() {
    if (this.position > RESTART_AFTER_S || !this.queue.previous()) this.seek(0);
    else this.#begin();
  }

  /** @param {number} seconds from the track's start */
  seek(seconds) {
    if (!this.queue.current) return;
    this.#ended = false;
    this.stats.asked("seek");
    this.#stream.seek(seconds);
    if (this.#wanted) this.#playElement();
    this.emit("time");
    this.emit("status");
  }

  /** @param {number} seconds relative to now */
  seekBy(seconds) {
    const target = this.position + seconds;
    if (target >= this.duration && this.queue.upcoming(1).length) this.next();
    else this.seek(Math.max(0, target));
  }

  /** @param {number} volume 0 to 1 */
  setVolume(volume) {
    this.#settings.set("volume", Math.min(1, Math.max(0, volume)));
    this.#settings.set("muted", false);
    this.#applyVolume();
  }

  toggleMuted() {
    this.#settings.set("muted", !this.muted);
    this.#applyVolume();
  }

  /** @param {import("./loudness.js").Normalization} mode */
  setNormalization(mode) {
    this.#settings.set("normalization", mode);
    this.#applyVolume();
  }

  /** @param {string} choice `auto` or the id of a rendition */
  setQuality(choice) {
    this.#chooser.choice = choice;
    this.#settings.set("quality", choice);
    this.#stream.requality();
    this.emit("quality");
  }

  /** Puts a queue in place without playing, at a position: what a reload restores.
   * @param {TrackSummary[]} tracks
   * @param {number} index
   * @param {number} position seconds
   */
  restore(tracks, index, position) {
    this.queue.replace(tracks, index);
    if (!this.queue.current) return;
    this.#stream.start(this.queue.current, position);
    this.#agree();
    this.emit("track");
    this.emit("status");
  }

  /**
   * Gets ready for a track that is likely to be played.
   * @param {TrackSummary} track
   * @param {boolean} [fetch]
   */
  prefetch(track, fetch = true) {
    this.#stream.prefetch(track, fetch);
  }

  /** Starts the current entry. @param {number} [at] seconds from the track's start */
  #begin(at = 0) {
    const entry = this.queue.current;
    if (!entry) return;
    this.#wanted = true;
    this.#sounded = false;
    this.#ended = false;
    this.#stalled = false;
    this.#error = null;
    this.stats.asked("start");
    this.#stream.eager = true;
    this.#stream.start(entry, at);
    this.#agree();
    this.#applyVolume();
    this.#element.autoplay = true;
    this.#playElement();
    this.emit("track");
    this.emit("status");
  }

  #playElement() {
    this.#element.play().catch((error) => {
      // AbortError: a newer call took over. NotAllowedError: the browser wants a click first.
      if (error.name !== "NotAllowedError") return;
      this.#wanted = false;
      this.emit("status");
    });
  }

  #listen() {
    const element = this.#element;
    this.queue.on("change", () => {
      this.#agree();
      this.emit("queue");
    });
    this.#stream.on("advance", ({ entry }) => this.#advanced(entry));
    this.#stream.on("error", (problem) => this.#failed(problem));
    this.#stream.on("buffer", () => {
      if (this.#error) this.retry();
      this.emit("buffer");
    });
    this.stats.on("sound", () => {
      this.#sounded = true;
      this.#stalled = false;
      this.#skips = 0;
      this.emit("status");
    });
    element.addEventListener("timeupdate", () => {
      this.#watchBoundary();
      this.emit("time");
    });
    element.addEventListener("waiting", () => this.#waiting());
    element.addEventListener("playing", () => this.#setStalled(false));
    element.addEventListener("ended", () => {
      if (this.queue.upcoming(1).length) return;
      this.#ended = true;
      this.emit("status");
    });
    element.addEventListener("pause", () => {
      // Not asked for by us: headphones were pulled, or the system took the sound away.
      if (!this.#wanted || element.ended || this.#ended || element.seeking) return;
      this.#wanted = false;
      this.emit("status");
    });
    element.addEventListener("play", () => {
      if (this.#wanted) return;
      this.#wanted = true;
      this.#stream.eager = true;
      this.#stream.wake();
      this.emit("status");
    });
    element.addEventListener("error", () => this.#elementFailed());
    globalThis.addEventListener?.("online", () => this.retry());
    globalThis.document?.addEventListener("visibilitychange", () => this.#stream.tick());
  }

  /** Tries again after an error that may have passed. */
  retry() {
    if (!this.#error) return this.#stream.wake();
    this.#error = null;
    this.#stream.retry();
    this.emit("status");
  }

  #agree() {
    this.#stream.setUpcoming(this.queue.upcoming(LOOKAHEAD));
  }

  /** @param {import("./queue.js").Entry} entry */
  #advanced(entry) {
    if (this.queue.current?.key === entry.key) this.queue.next();
    else if (this.queue.upcoming(1)[0]?.key === entry.key) this.queue.next();
    else this.queue.jump(entry.key);
    this.#applyVolume();
    this.stats.advanced();
    this.emit("track");
    this.emit("time");
  }

  /** Near a track's end the clock is watched more closely than `timeupdate` does. */
  #watchBoundary() {
    const { left } = this.#stream;
    if (left > 0.6 || left <= 0 || this.#element.paused) return;
    clearTimeout(this.#boundary);
    this.#boundary = setTimeout(() => this.#stream.tick(), left * 1000 + 4);
  }

  #waiting() {
    const element = this.#element;
    if (element.seeking || !this.#sounded || element.ended) return;
    const gap = this.#stream.bufferedRaw.find(([from]) => from > element.currentTime && from < element.currentTime + 0.5);
    if (gap) {
      element.currentTime = gap[0] + 0.001;
      return;
    }
    this.#stream.starved = true;
    this.stats.rebuffered();
    this.#setStalled(true);
  }

  /** @param {boolean} stalled */
  #setStalled(stalled) {
    if (this.#stalled === stalled) return;
    this.#stalled = stalled;
    this.emit("status");
  }

  /** @param {{entry: import("./queue.js").Entry, error: any, current: boolean}} problem */
  #failed({ entry, error, current }) {
    if (this.#element.error) return; // the element says so itself
    const fatal = error?.kind === "http" || error?.name === "BoxError";
    if (!fatal) {
      // The network: what is buffered plays on; try again meanwhile.
      setTimeout(() => this.#stream.retry(), RETRY_AFTER_MS);
      if (current && this.#stream.ahead < 0.5) this.#fail(error);
      return;
    }
    if (!this.#wanted) return this.#fail(error); // nobody asked for sound: no word, no next track
    this.emit("problem", { message: `Couldn’t play “${entry.track.title}”. ${error.message}`, track: entry.track });
    if (!current) {
      this.queue.remove(entry.key);
      this.#stream.retry();
      return;
    }
    this.#skips += 1;
    if (this.#skips <= MAX_SKIPS && this.queue.repeat !== "one" && this.queue.next(true)) this.#begin();
    else this.#fail(error);
  }

  /** @param {Error} error */
  #fail(error) {
    this.#error = error;
    this.emit("status");
  }

  /** The element gave its media up: decode error, or the system reclaimed the decoder. */
  #elementFailed() {
    if (!this.#element.error || !this.queue.current) return;
    this.#rebuilds += 1;
    if (this.#rebuilds > MAX_SKIPS) return this.#fail(new Error("The sound could not be decoded."));
    setTimeout(() => (this.#rebuilds = Math.max(0, this.#rebuilds - 1)), 60_000);
    this.#stream.rebuild();
    this.#agree();
    if (this.#wanted) this.#playElement();
  }

  #applyVolume() {
    const scale = gain(this.track, this.#settings.get("normalization"));
    // The ear's scale is closer to a square than to a line.
    this.#element.volume = this.volume ** 2 * scale;
    this.#element.muted = this.muted;
    this.emit("volume");
  }
}
