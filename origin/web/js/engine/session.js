/**
 * The listening token: fetched once, kept until shortly before it expires, renewed when refused.
 * Media URLs carry it as a path prefix.
 * @module
 */

/** @typedef {{prefix: string, expires_at: number}} Grant `expires_at` in Unix seconds */

const STORAGE_KEY = "segue.session";
/** A grant with less life than this is renewed before use. */
const RENEW_BEFORE_S = 60;

/** Thrown where the server lets nobody listen without an account. */
export class SessionError extends Error {
  /**
   * @param {string} message
   * @param {number} status HTTP status; 0 where there was no answer
   */
  constructor(message, status) {
    super(message);
    this.name = "SessionError";
    this.status = status;
  }
}

/** One listener's access to media. */
export class Session {
  /** @type {Grant | null} */
  #grant;
  /** @type {Promise<Grant> | null} */
  #pending = null;
  #early;
  #url;
  #now;
  #fetch;

  /**
   * @param {object} [options]
   * @param {string} [options.url]
   * @param {() => number} [options.now] Unix seconds
   * @param {typeof fetch} [options.fetch]
   * @param {Promise<Response>} [options.early] an answer that was asked for already
   */
  constructor({ url = "/api/v1/session", now = () => Date.now() / 1000, fetch = globalThis.fetch, early } = {}) {
    this.#url = url;
    this.#now = now;
    this.#fetch = (...args) => fetch(...args);
    this.#early = early;
    this.#grant = restore();
  }

  /**
   * The prefix to put before a media path, now.
   * @returns {Promise<string>}
   * @throws {SessionError}
   */
  async prefix() {
    if (this.#grant && this.#grant.expires_at - this.#now() > RENEW_BEFORE_S) return this.#grant.prefix;
    return (await this.#renew()).prefix;
  }

  /**
   * Says that a prefix was refused. The next [`prefix`] fetches another.
   * @param {string} prefix the one refused; ignored if it has been replaced meanwhile
   */
  refused(prefix) {
    if (this.#grant?.prefix === prefix) this.#grant = null;
  }

  /** @returns {Promise<Grant>} one request however many wait for it */
  #renew() {
    this.#pending ??= this.#request().finally(() => (this.#pending = null));
    return this.#pending;
  }

  async #request() {
    let response;
    try {
      const early = this.#early;
      this.#early = undefined;
      response = await (early ?? this.#fetch(this.#url, { method: "POST", priority: "high" }));
    } catch {
      throw new SessionError("The server can't be reached.", 0);
    }
    if (response.status === 404) return this.#keep({ prefix: "", expires_at: this.#now() + 3600 });
    if (!response.ok) throw new SessionError("This server asks for a token to listen.", response.status);
    const { prefix, expires_at } = await response.json();
    return this.#keep({ prefix: String(prefix ?? ""), expires_at: Number(expires_at) || 0 });
  }

  /** @param {Grant} grant */
  #keep(grant) {
    this.#grant = grant;
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(grant));
    } catch {
      // Private mode or full: the grant lives as long as the page.
    }
    return grant;
  }
}

/** @returns {Grant | null} */
function restore() {
  try {
    const grant = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "null");
    return typeof grant?.prefix === "string" && typeof grant.expires_at === "number" ? grant : null;
  } catch {
    return null;
  }
}
