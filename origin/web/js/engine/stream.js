/**
 * Keeps the media element fed: fetches segments ahead of the playhead, lays track behind track
 * without a gap, switches renditions, and starts over fast when the listener jumps.
 *
 * What the SourceBuffer holds is one contiguous range that ends at the tail's cursor, and every
 * byte of it is what the timeline says. Whatever would break that removes first.
 * @module
 */

import { cmcdHeaders } from "./cmcd.js";
import { mediaType } from "./codecs.js";
import { Emitter } from "./emitter.js";
import { MediaError } from "./fetcher.js";
import { Rendition } from "./rendition.js";
import { Source } from "./source.js";
import { Start, Starts } from "./start.js";
import { Placed, Timeline } from "./timeline.js";

/** @typedef {import("./queue.js").Entry} Entry */
/** @typedef {import("../api.js").TrackSummary} TrackSummary */
/** @typedef {import("../api.js").RenditionSummary} RenditionSummary */

/** Seconds fetched ahead of the playhead. */
const GOAL_S = 30;
/** Seconds fetched ahead while nobody has asked for sound: enough to start on. */
const READY_S = 4;
/** Seconds kept behind the playhead. */
const BEHIND_S = 30;
/** Slack on a time that should be a segment's start: below any frame, above any rounding. */
const EPSILON_S = 0.0005;
/** How far after the playhead a change of quality by hand takes effect, at least. Seconds. */
const CHANGE_AFTER_S = 1.5;

/**
 * Emits `advance` {entry} when the clock has moved into the next track, `buffer` when more has
 * been appended, `error` {entry, error, current}, and `transfer` for statistics.
 */
export class Stream extends Emitter {
  #element;
  #fetcher;
  #chooser;
  /** @type {Source} */
  #source;
  #timeline = new Timeline();
  #starts = new Starts();
  /** @type {Placed | null} the track at the playhead */
  #current = null;
  /** @type {Placed | null} the track that bytes are being fetched for */
  #inFlight = null;
  /** URL of the start that is being played from. */
  #adopted = "";
  /** @type {Entry[]} what follows the current track */
  #upcoming = [];
  #abort = new AbortController();
  #goal = GOAL_S;
  #blocked = false;
  #awake = true;
  /** @type {() => void} */
  #rouse = () => {};
  /** Whether sound is wanted; before that, only the start is fetched. */
  eager = false;
  /** Set when the buffer ran empty; told to the server once. */
  starved = false;

  /**
   * @param {HTMLMediaElement} element
   * @param {import("./fetcher.js").Fetcher} fetcher
   * @param {import("./chooser.js").Chooser} chooser
   */
  constructor(element, fetcher, chooser) {
    super();
    this.#element = element;
    this.#fetcher = fetcher;
    this.#chooser = chooser;
    this.#source = new Source(element, () => this.wake());
    const usual = mediaType("opus");
    if (usual && this.#source.canChangeType) this.#source.prepare(usual).catch(() => {});
    element.addEventListener("timeupdate", () => this.tick());
    this.#pump();
  }

  /** Seconds into the current track. */
  get position() {
    const current = this.#current;
    return current ? Math.min(Math.max(0, this.#element.currentTime - current.start), this.duration) : 0;
  }

  /** Seconds of the current track. */
  get duration() {
    return this.#current ? this.#current.durationUs / 1e6 : 0;
  }

  /** Buffered ranges of the current track, seconds from its start. */
  get buffered() {
    const current = this.#current;
    if (!current) return [];
    return this.#source.buffered
      .map(([from, to]) => [Math.max(from, current.start) - current.start, Math.min(to, current.end) - current.start])
      .filter(([from, to]) => to > from);
  }

  /** Buffered ranges on the element's clock, seconds. */
  get bufferedRaw() {
    return this.#source.buffered;
  }

  /** Seconds appended ahead of the playhead. */
  get ahead() {
    const tail = this.#timeline.tail;
    return tail ? Math.max(0, tail.start + tail.cursor - this.#element.currentTime) : 0;
  }

  /** @returns {RenditionSummary | null} what is heard at the playhead */
  get rendition() {
    return this.#current?.rungAt(this.position) ?? null;
  }

  /**
   * Gets the decoder ready for a track before anybody asks to play it.
   * @param {TrackSummary} track
   * @param {boolean} [fetch] whether to fetch its first bytes too
   */
  prefetch(track, fetch = true) {
    const rung = this.#chooser.peek(track);
    if (!rung) return;
    const type = mediaType(rung.codecs);
    if (type) this.#source.prepare(type).catch(() => {});
    if (fetch && !this.#starts.get(rung.url)) this.#begin(track, rung, "low");
  }

  /**
   * Plays an entry from a position, as soon as its first segment is here. What was buffered goes.
   * @param {Entry} entry
   * @param {number} [at] seconds from the track's start
   */
  start(entry, at = 0) {
    this.#interrupt();
    if (this.#element.error) this.#renew();
    const ends = [...this.#source.buffered.map(([, to]) => to), this.#element.currentTime];
    if (this.#timeline.tail) ends.push(this.#timeline.tail.end);
    // A fresh place on the clock: nothing has to be removed before the new bytes can go in.
    const from = this.#timeline.tail ? Math.ceil(Math.max(...ends)) + 1 : 0;
    const placed = new Placed(entry, from * 1e6, at);
    this.#timeline.reset(placed);
    this.#current = placed;
    this.#seekElement(from + at);
    if (from > 0) this.#source.remove(0, from).catch(() => {});
    this.wake();
  }

  /**
   * Says what follows the current track.
   * @param {Entry[]} entries
   */
  setUpcoming(entries) {
    this.#upcoming = entries;
    if (this.#current) {
      const cut = this.#timeline.agree(this.#current, entries);
      if (cut) {
        if (this.#inFlight && !this.#timeline.placed.includes(this.#inFlight)) this.#interrupt();
        this.#source.remove(cut.start).catch(() => {});
      }
    }
    this.wake();
  }

  /**
   * Moves within the current track.
   * @param {number} seconds from its start
   */
  seek(seconds) {
    const current = this.#current;
    if (!current) return;
    if (this.#element.error) return this.start(current.entry, seconds);
    const target = Math.min(Math.max(0, seconds), Math.max(0, this.duration - 0.05));
    const at = current.start + target;
    const held = this.#source.buffered.some(([from, to]) => from <= at + EPSILON_S && at + 0.1 < to);
    if (held || (current.done && target < current.cursor && this.#covers(at))) {
      this.#seekElement(at);
      return;
    }
    this.#interrupt();
    const opened = current.renditions.values().next().value;
    const from = opened?.segmentAt(target)?.from ?? (target > 0 ? target : 0);
    const placed = current.restarted(from);
    this.#timeline.reset(placed);
    this.#current = placed;
    this.#source.remove(0).catch(() => {});
    this.#seekElement(at);
    this.wake();
  }

  /** Applies a change of quality by hand from the next segment boundary on, not after the buffer. */
  requality() {
    const current = this.#current;
    if (!current || this.#chooser.choice === "auto") return this.wake();
    const boundary = current.boundaryAfter(this.position + CHANGE_AFTER_S);
    if (boundary !== null && boundary < current.cursor) {
      this.#interrupt();
      this.#timeline.agree(current, []);
      current.cutAt(boundary);
      this.#source.remove(current.start + boundary).catch(() => {});
    }
    this.wake();
  }

  /** Starts over where it is, with a fresh source, after the media element failed. */
  rebuild() {
    if (this.#current) this.start(this.#current.entry, this.position);
  }

  /** A new source for an element that gave the old one up. */
  #renew() {
    this.#timeline = new Timeline();
    this.#starts = new Starts();
    this.#source = new Source(this.#element, () => this.wake());
    this.#fetcher.distrust();
  }

  /** Looks at the clock: called by the element and, near a track's end, by the player's timer. */
  tick() {
    const placed = this.#timeline.at(this.#element.currentTime);
    if (placed && this.#current && placed !== this.#current) {
      const { placed: all } = this.#timeline;
      this.#upcoming = this.#upcoming.slice(all.indexOf(placed) - all.indexOf(this.#current));
      this.#current = placed;
      this.#timeline.dropBefore(placed);
      this.emit("advance", { entry: placed.entry });
    }
    this.wake();
  }

  /** Seconds until the current track ends, by the clock. */
  get left() {
    return this.#current ? this.#current.end - this.#element.currentTime : Infinity;
  }

  /** Tries again after an error. */
  retry() {
    this.#blocked = false;
    this.wake();
  }

  /** Lets the pump look again whether there is something to do. */
  wake() {
    this.#awake = true;
    this.#rouse();
  }

  /** One step after another, for as long as the page lives. */
  async #pump() {
    for (;;) {
      const { signal } = this.#abort;
      let busy = false;
      try {
        busy = !this.#blocked && (await this.#step(signal));
      } catch (error) {
        busy = signal.aborted;
        if (!busy) this.#fail(error);
      }
      if (busy) continue;
      if (!this.#awake) await new Promise((resolve) => (this.#rouse = () => resolve(undefined)));
      this.#awake = false;
    }
  }

  /**
   * Fetches and appends the next piece, if one is wanted.
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether something was done, so that there may be more to do
   */
  async #step(signal) {
    const tail = this.#timeline.tail;
    if (!tail || !this.#source.streaming) return false;
    await this.#evict();
    if (tail.done) return this.#extend(tail);
    if (this.ahead >= (this.eager ? this.#goal : READY_S)) return false;

    const { track } = tail.entry;
    const rung = this.#prefetched(tail) ?? this.#chooser.next(track, this.ahead);
    if (!rung) throw new MediaError("http", "This browser can play no rendition of this track.", 415);
    this.#inFlight = tail;
    const rendition = tail.renditions.get(rung.id);
    if (rendition) await this.#fetchSegment(tail, rung, rendition, signal);
    else if (tail.cursor === 0) await this.#fetchStart(tail, rung, signal);
    else await this.#fetchHead(tail, rung, signal);
    return true;
  }

  /**
   * For a track to be heard at once, bytes that are here already beat a better rung.
   * @param {Placed} tail
   */
  #prefetched(tail) {
    if (tail.cursor > 0 || tail.renditions.size > 0 || this.ahead > 1) return null;
    const rung = this.#chooser.ladder(tail.entry.track).findLast((r) => this.#starts.get(r.url));
    if (rung) this.#chooser.took(rung);
    return rung ?? null;
  }

  /**
   * Lays the next track behind one that is complete.
   * @param {Placed} tail
   */
  async #extend(tail) {
    const at = this.#timeline.placed.indexOf(tail) - this.#timeline.placed.indexOf(/** @type {Placed} */ (this.#current));
    const next = this.#upcoming[at];
    if (!next) {
      if (!this.#source.ended) await this.#source.end();
      return false;
    }
    if (this.ahead >= this.#goal) return false;
    this.#timeline.push(next);
    return true;
  }

  /**
   * The first request of a track: sound as soon as the first segment is here.
   * @param {Placed} tail
   * @param {RenditionSummary} rung
   * @param {AbortSignal} signal
   */
  async #fetchStart(tail, rung, signal) {
    const { track } = tail.entry;
    const start = this.#starts.get(rung.url) ?? this.#begin(track, rung, "high");
    this.#adopted = rung.url;
    let appended = 0;
    for (;;) {
      const changed = nextChange(start, signal);
      if (start.error) {
        this.#starts.drop(rung.url);
        throw start.error;
      }
      const { rendition } = start;
      if (rendition && !tail.renditions.has(rung.id)) {
        tail.renditions.set(rung.id, rendition);
        tail.open(rendition);
        await this.#append(tail, rung, rendition, null, null, signal);
      }
      while (rendition && rendition.segments[appended]?.end <= start.bytes.length) {
        const segment = rendition.segments[appended];
        await this.#append(tail, rung, rendition, segment, start.bytes.slice(segment.start, segment.end), signal);
        appended += 1;
      }
      if (start.finished) return;
      const flight = { elapsed: start.elapsed, loaded: start.bytes.length, total: rung.start_bytes, buffer: this.ahead };
      if (appended === 0 && this.#chooser.abandons(track, rung, flight)) {
        this.#chooser.abandoned(rung, flight.loaded, flight.elapsed);
        this.#starts.drop(rung.url);
        tail.renditions.delete(rung.id);
        return;
      }
      await changed;
    }
  }

  /**
   * Init and index of a rendition that a track switches to.
   * @param {Placed} tail
   * @param {RenditionSummary} rung
   * @param {AbortSignal} signal
   */
  async #fetchHead(tail, rung, signal) {
    const bytes = await this.#fetcher.range({
      url: rung.url,
      start: 0,
      end: rung.index_end,
      headers: this.#cmcd(tail.entry.track, rung, { type: "i" }),
      signal,
    });
    const rendition = Rendition.parse(bytes, rung.init_end);
    tail.renditions.set(rung.id, rendition);
    tail.open(rendition);
    if (!tail.codecs && tail.cursor > 0) tail.cursor = rendition.segmentAt(tail.cursor)?.from ?? tail.cursor;
  }

  /**
   * @param {Placed} tail
   * @param {RenditionSummary} rung
   * @param {Rendition} rendition
   * @param {AbortSignal} signal
   */
  async #fetchSegment(tail, rung, rendition, signal) {
    const segment = rendition.segmentAt(tail.cursor + EPSILON_S);
    if (!segment) {
      tail.cursor = tail.durationUs / 1e6;
      return;
    }
    const { track } = tail.entry;
    const local = new AbortController();
    const give = () => local.abort(signal.reason);
    signal.addEventListener("abort", give, { once: true });
    const begun = performance.now();
    let loaded = 0;
    let abandoned = false;
    const watch = setInterval(() => {
      const elapsed = (performance.now() - begun) / 1000;
      const flight = { elapsed, loaded, total: segment.end - segment.start, buffer: this.ahead };
      if (!this.#chooser.abandons(track, rung, flight)) return;
      abandoned = true;
      this.#chooser.abandoned(rung, loaded, elapsed);
      local.abort();
    }, 250);
    try {
      const next = rendition.segments[segment.index + 1];
      const bytes = await this.#fetcher.range({
        url: rung.url,
        start: segment.start,
        end: segment.end,
        headers: this.#cmcd(track, rung, {
          type: "a",
          duration: segment.to - segment.from,
          nextRange: next ? `${next.start}-${next.end - 1}` : undefined,
        }),
        priority: this.ahead < 8 ? "high" : "auto",
        signal: local.signal,
        onProgress: (p) => (loaded = p.bytes.length),
        onTransfer: (t) => this.#transferred(t),
      });
      await this.#append(tail, rung, rendition, segment, bytes, signal);
    } catch (error) {
      if (!abandoned || signal.aborted) throw error;
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", give);
    }
  }

  /**
   * @param {Placed} tail
   * @param {RenditionSummary} rung
   * @param {Rendition} rendition
   * @param {import("./rendition.js").Segment | null} segment null to append the init alone
   * @param {Uint8Array | null} bytes
   * @param {AbortSignal} signal
   */
  async #append(tail, rung, rendition, segment, bytes, signal) {
    signal.throwIfAborted();
    const { codecs } = rung;
    // Codecs cut at slightly different instants: from one to another, keep what there is and let
    // the newcomer begin exactly there.
    const crossing = tail.codecs !== "" && tail.codecs !== codecs;
    const piece = {
      type: mediaType(rung.codecs) ?? "",
      initKey: rendition,
      init: rendition.init,
      bytes,
      offset: tail.start,
      from: tail.start + (crossing ? tail.cursor : 0),
      to: tail.end,
    };
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.#source.append(piece);
        break;
      } catch (error) {
        if (!(error instanceof DOMException) || error.name !== "QuotaExceededError" || attempt >= 3) throw error;
        await this.#makeRoom(attempt);
        signal.throwIfAborted();
      }
    }
    signal.throwIfAborted();
    if (!segment) return;
    const last = segment.index === rendition.segments.length - 1;
    tail.appended(segment.from, rung, last ? tail.durationUs / 1e6 : segment.to);
    this.emit("buffer");
  }

  /** @param {number} attempt */
  async #makeRoom(attempt) {
    this.#goal = Math.max(8, this.#goal * 0.7);
    await this.#source.remove(0, Math.max(0.01, this.#element.currentTime - 2));
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 1000));
  }

  /** Drops what lies far behind the playhead, in steps that make it worth the while. */
  async #evict() {
    const keep = this.#element.currentTime - BEHIND_S;
    const [first] = this.#source.buffered;
    if (first && first[0] < keep - 10 && first[1] > keep - 10) await this.#source.remove(0, keep);
  }

  /**
   * @param {TrackSummary} track
   * @param {RenditionSummary} rung
   * @param {"high" | "low"} priority
   * @returns {Start}
   */
  #begin(track, rung, priority) {
    const headers = this.#cmcd(track, rung, { type: "a", duration: 3.84 });
    const start = new Start(rung, (signal, onProgress) =>
      this.#fetcher.range({
        url: rung.url,
        start: 0,
        end: Math.min(rung.start_bytes, rung.bytes),
        headers,
        priority,
        signal,
        onProgress,
        onTransfer: (t) => this.#transferred(t),
      }),
    );
    this.#starts.put(rung.url, start);
    return start;
  }

  /** @param {import("./fetcher.js").Transfer} transfer */
  #transferred(transfer) {
    this.#chooser.transferred(transfer);
    this.emit("transfer", transfer);
  }

  /**
   * @param {TrackSummary} track
   * @param {RenditionSummary} rung
   * @param {{type: "a" | "i", duration?: number, nextRange?: string}} part
   */
  #cmcd(track, rung, part) {
    const { starved } = this;
    this.starved = false;
    const top = this.#chooser.ladder(track).at(-1) ?? rung;
    return cmcdHeaders({
      ...part,
      bitrate: rung.bitrate,
      top: top.bitrate,
      buffer: this.ahead,
      throughput: this.#chooser.throughput,
      startup: this.ahead < 0.5,
      starved,
      content: track.id,
    });
  }

  /** Gives up what is in flight; the pump goes on from the new state. */
  #interrupt() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#inFlight = null;
    this.#blocked = false;
    this.#starts.dropUnfinished(this.#adopted);
  }

  /** @param {unknown} error */
  #fail(error) {
    const placed = this.#inFlight ?? this.#timeline.tail;
    this.#blocked = true;
    if (placed) this.emit("error", { entry: placed.entry, error, current: placed === this.#current });
  }

  /** @param {number} time seconds on the element's clock */
  #covers(time) {
    return this.#source.buffered.some(([from, to]) => from <= time + EPSILON_S && time < to);
  }

  /** @param {number} time seconds on the element's clock */
  #seekElement(time) {
    if (!this.#source.ended) {
      if (Math.abs(this.#element.currentTime - time) > 1e-6) this.#element.currentTime = time;
      return;
    }
    this.#source.reopen().then(() => (this.#element.currentTime = time));
  }
}

/**
 * @param {Start} start
 * @param {AbortSignal} signal
 * @returns {Promise<void>} when it has changed, or after a moment, so that a silent one is judged
 */
function nextChange(start, signal) {
  const change = new Promise((resolve, reject) => {
    const abort = () => over(() => reject(signal.reason));
    const timer = setTimeout(() => over(resolve), 250);
    const over = (/** @type {() => void} */ then) => {
      clearTimeout(timer);
      start.onChange(null);
      signal.removeEventListener("abort", abort);
      then();
    };
    start.onChange(() => over(resolve));
    signal.addEventListener("abort", abort);
  });
  change.catch(() => {}); // whoever still awaits it hears of the abort
  return change;
}
