/**
 * Byte ranges of media over HTTP: streamed, resumed where they broke off, retried with backoff,
 * with the token renewed when it is refused.
 * @module
 */

/** Attempts without a single new byte before giving up. */
const MAX_ATTEMPTS = 6;
const BACKOFF_BASE_S = 0.3;
const BACKOFF_MAX_S = 8;
/** Seconds without a byte after which a response counts as dead. */
const STALL_TIMEOUT_S = 10;
/** How long the browser's own cache is passed by after it gave bytes that can't be decoded, ms. */
const DISTRUST_MS = 60_000;

/** Why media could not be fetched. */
export class MediaError extends Error {
  /**
   * @param {"http" | "network" | "session"} kind
   * @param {string} message
   * @param {number} [status]
   */
  constructor(kind, message, status = 0) {
    super(message);
    this.name = "MediaError";
    this.kind = kind;
    this.status = status;
  }
}

/**
 * @typedef {object} Progress
 * @property {Uint8Array} bytes everything so far, from the range's start
 * @property {number} elapsed seconds since the request was sent
 */

/**
 * @typedef {object} Transfer what a finished request tells
 * @property {number} bytes
 * @property {number} seconds from the request to the last byte
 * @property {number} firstByte seconds from the request to the headers
 * @property {string | null} cacheStatus RFC 9211
 */

/** Fetches ranges. */
export class Fetcher {
  #session;
  #fetch;
  #random;
  #distrustUntil = 0;

  /**
   * @param {import("./session.js").Session} session
   * @param {{fetch?: typeof fetch, random?: () => number}} [options]
   */
  constructor(session, { fetch = globalThis.fetch, random = Math.random } = {}) {
    this.#session = session;
    this.#fetch = (...args) => fetch(...args);
    this.#random = random;
  }

  /** Passes the browser's cache by for a while: what it holds may be broken. */
  distrust() {
    this.#distrustUntil = performance.now() + DISTRUST_MS;
  }

  /**
   * Fetches bytes `start..end` of a media path.
   * @param {object} request
   * @param {string} request.url path without token
   * @param {number} request.start
   * @param {number} request.end exclusive
   * @param {Record<string, string>} [request.headers]
   * @param {"high" | "low" | "auto"} [request.priority]
   * @param {AbortSignal} request.signal
   * @param {(progress: Progress) => void} [request.onProgress]
   * @param {(transfer: Transfer) => void} [request.onTransfer] after each finished response
   * @returns {Promise<Uint8Array>} shorter than asked for only where the file ends before `end`
   * @throws {MediaError}
   * @throws {DOMException} `AbortError`
   */
  async range(request) {
    const state = { buffer: new Uint8Array(request.end - request.start), loaded: 0, end: request.end };
    let failures = 0;
    let refused = false;
    for (;;) {
      const before = state.loaded;
      try {
        await this.#attempt(request, state);
        return state.buffer.subarray(0, state.loaded);
      } catch (error) {
        request.signal.throwIfAborted();
        if (error instanceof MediaError && (error.status === 401 || error.status === 403) && !refused) {
          refused = true;
          continue;
        }
        if (error instanceof MediaError && !retryable(error)) throw error;
        failures = state.loaded > before ? 1 : failures + 1;
        if (failures >= MAX_ATTEMPTS) {
          throw error instanceof MediaError ? error : new MediaError("network", "The server can't be reached.");
        }
        await this.#pause(failures, request.signal);
      }
    }
  }

  /**
   * @param {Parameters<Fetcher["range"]>[0]} request
   * @param {{buffer: Uint8Array, loaded: number, end: number}} state
   */
  async #attempt(request, state) {
    const prefix = await this.#session.prefix().catch((error) => {
      throw new MediaError("session", error.message, error.status);
    });
    request.signal.throwIfAborted();
    const dead = new AbortController();
    const signal = AbortSignal.any
      ? AbortSignal.any([request.signal, dead.signal])
      : follow(request.signal, dead);
    let timer = setTimeout(() => dead.abort(), STALL_TIMEOUT_S * 1000);
    const sent = performance.now();
    const from = request.start + state.loaded;
    try {
      const response = await this.#fetch(prefix + request.url, {
        headers: { ...request.headers, Range: `bytes=${from}-${request.end - 1}` },
        priority: request.priority ?? "auto",
        cache: sent < this.#distrustUntil ? "reload" : "default",
        signal,
      });
      const firstByte = (performance.now() - sent) / 1000;
      if (response.status === 401 || response.status === 403) this.#session.refused(prefix);
      if (response.status !== 206 && !(response.status === 200 && from === 0)) {
        throw new MediaError("http", `The server answered ${response.status}.`, response.status);
      }
      const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      const begun = state.loaded;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => dead.abort(), STALL_TIMEOUT_S * 1000);
        const room = state.buffer.length - state.loaded;
        state.buffer.set(value.length > room ? value.subarray(0, room) : value, state.loaded);
        state.loaded += Math.min(value.length, room);
        request.onProgress?.({
          bytes: state.buffer.subarray(0, state.loaded),
          elapsed: (performance.now() - sent) / 1000,
        });
        if (value.length > room) {
          await reader.cancel();
          break;
        }
      }
      if (state.loaded < state.buffer.length && !endsEarly(response, request.start + state.loaded)) {
        throw new MediaError("network", "The response was cut short.");
      }
      request.onTransfer?.({
        bytes: state.loaded - begun,
        seconds: (performance.now() - sent) / 1000,
        firstByte,
        cacheStatus: response.headers.get("cache-status"),
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Waits before another attempt: exponentially, with jitter, or until the network is back.
   * @param {number} failures
   * @param {AbortSignal} signal
   */
  async #pause(failures, signal) {
    const seconds = Math.min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2 ** (failures - 1));
    const jittered = seconds * (0.5 + this.#random() / 2);
    await new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        globalThis.removeEventListener?.("online", finish);
        signal.removeEventListener("abort", abort);
      };
      const finish = () => (done(), resolve(undefined));
      const abort = () => (done(), reject(signal.reason));
      const timer = setTimeout(finish, jittered * 1000);
      globalThis.addEventListener?.("online", finish);
      signal.addEventListener("abort", abort);
    });
    if (globalThis.navigator?.onLine === false) await online(signal);
  }
}

/** @param {MediaError} error */
function retryable(error) {
  if (error.kind === "session") return error.status === 0 || error.status >= 500;
  if (error.kind === "network") return true;
  return error.status === 408 || error.status === 429 || error.status >= 500;
}

/**
 * Whether the file ends at `at`, so that a short body is whole.
 * @param {Response} response
 * @param {number} at
 */
function endsEarly(response, at) {
  const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  return total !== undefined && Number(total) === at;
}

/** @param {AbortSignal} signal */
function online(signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    globalThis.addEventListener(
      "online",
      () => {
        signal.removeEventListener("abort", abort);
        resolve(undefined);
      },
      { once: true },
    );
  });
}

/**
 * Stands in for `AbortSignal.any`.
 * @param {AbortSignal} signal
 * @param {AbortController} controller
 */
function follow(signal, controller) {
  if (signal.aborted) controller.abort(signal.reason);
  else signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  return controller.signal;
}
