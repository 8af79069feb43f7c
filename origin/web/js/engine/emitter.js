/**
 * A typed-by-convention event emitter. Owns listeners; knows nothing of what is emitted.
 * @module
 */

/** Emits named events with one payload each. */
export class Emitter {
  /** @type {Map<string, Set<(payload: any) => void>>} */
  #listeners = new Map();

  /**
   * Adds a listener.
   * @param {string} name
   * @param {(payload: any) => void} listener
   * @returns {() => void} removes it again
   */
  on(name, listener) {
    let set = this.#listeners.get(name);
    if (!set) this.#listeners.set(name, (set = new Set()));
    set.add(listener);
    return () => set.delete(listener);
  }

  /**
   * Calls every listener of `name`, in order of addition. One that throws doesn't stop the others.
   * @param {string} name
   * @param {any} [payload]
   */
  emit(name, payload) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(payload);
      } catch (error) {
        console.error(`listener of ${name} failed`, error);
      }
    }
  }
}
