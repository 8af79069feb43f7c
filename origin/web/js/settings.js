/**
 * What the listener set, kept in the browser. Reads never fail; writes that can't be kept are
 * kept for the page.
 * @module
 */

import { Emitter } from "./engine/emitter.js";

const STORAGE_KEY = "segue.settings";

const DEFAULTS = {
  /** 0 to 1 */
  volume: 0.8,
  muted: false,
  /** `auto` or the id of a rendition */
  quality: "auto",
  /** @type {import("./engine/loudness.js").Normalization} */
  normalization: "album",
  /** @type {number | null} bit/s, from the last visit */
  throughput: null,
  /** @type {"auto" | "light" | "dark"} */
  theme: "auto",
};

/** Emits `change` with the name of what changed. */
export class Settings extends Emitter {
  #values = { ...DEFAULTS, ...read(STORAGE_KEY) };
  #timer = 0;

  /**
   * @template {keyof typeof DEFAULTS} K
   * @param {K} name
   * @returns {(typeof DEFAULTS)[K]}
   */
  get(name) {
    return this.#values[name];
  }

  /**
   * @template {keyof typeof DEFAULTS} K
   * @param {K} name
   * @param {(typeof DEFAULTS)[K]} value
   */
  set(name, value) {
    if (this.#values[name] === value) return;
    this.#values[name] = value;
    this.emit("change", name);
    // Volume sliders and throughput change often; once a moment is enough.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => write(STORAGE_KEY, this.#values), 200);
  }
}

/**
 * @param {string} key
 * @returns {any} null where there is nothing readable
 */
export function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {unknown} value
 */
export function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Private mode, or full.
  }
}
