/**
 * The play queue: what plays now, what comes next. Pure; knows nothing of sound or pages.
 * @module
 */

import { Emitter } from "./emitter.js";

/** @typedef {import("../api.js").TrackSummary} TrackSummary */
/** @typedef {{key: number, seq: number, track: TrackSummary}} Entry `key` is unique in the queue */
/** @typedef {"off" | "all" | "one"} Repeat */

/** Most entries held; adding beyond it drops the oldest ones already played, then refuses. */
export const MAX_ENTRIES = 2000;

/** Emits `change` after every change. */
export class Queue extends Emitter {
  /** @type {Entry[]} in play order */
  #entries = [];
  #cursor = -1;
  #nextKey = 1;
  #shuffled = false;
  /** @type {Repeat} */
  #repeat = "off";
  #random;

  /** @param {() => number} [random] in [0, 1) */
  constructor(random = Math.random) {
    super();
    this.#random = random;
  }

  /** Entries in play order. Not to be changed by the caller. */
  get entries() {
    return /** @type {readonly Entry[]} */ (this.#entries);
  }

  /** Index of the current entry; −1 when empty. */
  get cursor() {
    return this.#cursor;
  }

  /** @returns {Entry | null} */
  get current() {
    return this.#entries[this.#cursor] ?? null;
  }

  get shuffled() {
    return this.#shuffled;
  }

  get repeat() {
    return this.#repeat;
  }

  /**
   * Replaces the queue.
   * @param {TrackSummary[]} tracks
   * @param {number} [start] index in `tracks` to begin with
   */
  replace(tracks, start = 0) {
    this.#entries = tracks.slice(0, MAX_ENTRIES).map((track) => this.#entry(track));
    this.#cursor = this.#entries.length ? Math.min(Math.max(0, start), this.#entries.length - 1) : -1;
    if (this.#shuffled) this.#shuffle();
    this.emit("change");
  }

  /**
   * Adds to the end.
   * @param {TrackSummary[]} tracks
   * @returns {number} how many fitted
   */
  add(tracks) {
    return this.#insert(this.#entries.length, tracks);
  }

  /**
   * Adds right after the current entry.
   * @param {TrackSummary[]} tracks
   * @returns {number} how many fitted
   */
  addNext(tracks) {
    return this.#insert(this.#cursor + 1, tracks);
  }

  /**
   * Takes an entry out. Taking the current one out makes the next one current.
   * @param {number} key
   */
  remove(key) {
    const at = this.#indexOf(key);
    if (at < 0) return;
    this.#entries.splice(at, 1);
    if (at < this.#cursor) this.#cursor -= 1;
    this.#cursor = Math.min(this.#cursor, this.#entries.length - 1);
    this.emit("change");
  }

  /**
   * Moves an entry to another index.
   * @param {number} key
   * @param {number} to index after the move
   */
  move(key, to) {
    const from = this.#indexOf(key);
    if (from < 0) return;
    const current = this.current;
    const [entry] = this.#entries.splice(from, 1);
    this.#entries.splice(Math.min(Math.max(0, to), this.#entries.length), 0, entry);
    this.#cursor = current ? this.#entries.indexOf(current) : -1;
    this.emit("change");
  }

  /** Empties all but the current entry. */
  clear() {
    const current = this.current;
    this.#entries = current ? [current] : [];
    this.#cursor = current ? 0 : -1;
    this.emit("change");
  }

  /**
   * Makes an entry current.
   * @param {number} key
   * @returns {Entry | null}
   */
  jump(key) {
    const at = this.#indexOf(key);
    if (at < 0) return null;
    this.#cursor = at;
    this.emit("change");
    return this.current;
  }

  /**
   * What follows the current entry when nobody intervenes, at most `count` entries.
   * @param {number} count
   * @returns {Entry[]}
   */
  upcoming(count) {
    const current = this.current;
    if (!current) return [];
    const next = [];
    for (let i = 1; i <= count; i += 1) {
      if (this.#repeat === "one") next.push(current);
      else if (this.#cursor + i < this.#entries.length) next.push(this.#entries[this.#cursor + i]);
      else if (this.#repeat === "all") {
        next.push(this.#entries[(this.#cursor + i) % this.#entries.length]);
      } else break;
    }
    return next;
  }

  /**
   * Moves on to the next entry.
   * @param {boolean} [asked] whether a person asked for it: then `one` doesn't hold it back
   * @returns {Entry | null} null at the end
   */
  next(asked = false) {
    if (!this.current) return null;
    if (this.#repeat === "one" && !asked) return this.current;
    if (this.#cursor + 1 < this.#entries.length) this.#cursor += 1;
    else if (this.#repeat === "off") return null;
    else this.#cursor = 0;
    this.emit("change");
    return this.current;
  }

  /** @returns {Entry | null} the previous entry made current; null at the start */
  previous() {
    if (this.#cursor > 0) this.#cursor -= 1;
    else if (this.#repeat === "all" && this.#entries.length) this.#cursor = this.#entries.length - 1;
    else return null;
    this.emit("change");
    return this.current;
  }

  /** @param {Repeat} repeat */
  setRepeat(repeat) {
    this.#repeat = repeat;
    this.emit("change");
  }

  /**
   * Shuffles what isn't current, or restores the order in which entries were added.
   * @param {boolean} on
   */
  setShuffled(on) {
    if (on === this.#shuffled) return;
    this.#shuffled = on;
    if (on) this.#shuffle();
    else {
      const current = this.current;
      this.#entries.sort((a, b) => a.seq - b.seq);
      this.#cursor = current ? this.#entries.indexOf(current) : -1;
    }
    this.emit("change");
  }

  /** Puts the current entry first and the others behind it at random (Fisher–Yates). */
  #shuffle() {
    const current = this.current;
    const rest = this.#entries.filter((e) => e !== current);
    for (let i = rest.length - 1; i > 0; i -= 1) {
      const j = Math.floor(this.#random() * (i + 1));
      [rest[i], rest[j]] = [rest[j], rest[i]];
    }
    this.#entries = current ? [current, ...rest] : rest;
    this.#cursor = current ? 0 : -1;
  }

  /**
   * @param {number} at
   * @param {TrackSummary[]} tracks
   */
  #insert(at, tracks) {
    let room = MAX_ENTRIES - this.#entries.length;
    if (room < tracks.length) {
      const played = Math.min(this.#cursor, tracks.length - room);
      if (played > 0) {
        this.#entries.splice(0, played);
        this.#cursor -= played;
        at -= played;
        room += played;
      }
    }
    const added = tracks.slice(0, Math.max(0, room)).map((track) => this.#entry(track));
    this.#entries.splice(Math.max(0, at), 0, ...added);
    if (this.#cursor < 0 && this.#entries.length) this.#cursor = 0;
    if (added.length) this.emit("change");
    return added.length;
  }

  /** @param {TrackSummary} track */
  #entry(track) {
    const key = this.#nextKey;
    this.#nextKey += 1;
    return { key, seq: key, track };
  }

  /** @param {number} key */
  #indexOf(key) {
    return this.#entries.findIndex((e) => e.key === key);
  }
}
