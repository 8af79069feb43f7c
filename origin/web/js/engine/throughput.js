/**
 * An estimate of the network's throughput: two exponentially weighted means with different
 * half-lives, the lower of which counts. Quick to fall, slow to rise. Pure; time is a parameter.
 * @module
 */

/** Seconds of transfer after which a sample's weight has halved. */
const FAST_HALF_LIFE_S = 2;
const SLOW_HALF_LIFE_S = 8;
/** Transfers below this say more about latency than about throughput. */
const MIN_SAMPLE_BYTES = 4 * 1024;

/** One exponentially weighted mean, corrected for its start at 0. */
class Ewma {
  #alpha;
  #estimate = 0;
  #weight = 0;

  /** @param {number} halfLife in units of weight */
  constructor(halfLife) {
    this.#alpha = Math.exp(Math.log(0.5) / halfLife);
  }

  /**
   * @param {number} weight
   * @param {number} value
   */
  sample(weight, value) {
    const keep = this.#alpha ** weight;
    this.#estimate = value * (1 - keep) + keep * this.#estimate;
    this.#weight += weight;
  }

  /** @returns {number} 0 before the first sample */
  get value() {
    const seen = 1 - this.#alpha ** this.#weight;
    return seen > 0 ? this.#estimate / seen : 0;
  }
}

/** Throughput in bit/s. */
export class Throughput {
  #fast = new Ewma(FAST_HALF_LIFE_S);
  #slow = new Ewma(SLOW_HALF_LIFE_S);
  #samples = 0;
  #initial;

  /** @param {number | null} [initial] bit/s known from an earlier visit */
  constructor(initial = null) {
    this.#initial = initial;
  }

  /**
   * Takes note of a transfer, latency included: what counts is how soon the next segment can be
   * here.
   * @param {number} bytes
   * @param {number} seconds
   */
  sample(bytes, seconds) {
    if (bytes < MIN_SAMPLE_BYTES || !(seconds > 0)) return;
    const rate = (bytes * 8) / seconds;
    // A fast transfer still counts for something: weight has a floor, or a run of quick segments
    // would hardly lift a low estimate.
    const weight = Math.max(seconds, 0.25);
    this.#fast.sample(weight, rate);
    this.#slow.sample(weight, rate);
    this.#samples += 1;
  }

  /** Samples taken so far. */
  get samples() {
    return this.#samples;
  }

  /** @returns {number | null} bit/s; null when nothing is known */
  get estimate() {
    if (this.#samples === 0) return this.#initial;
    return Math.min(this.#fast.value, this.#slow.value);
  }
}
