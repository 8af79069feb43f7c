/**
 * The accent: hue and strength taken from a cover, lightness left to the theme, so that it is
 * legible whatever the cover.
 * @module
 */

const SIZE = 32;
/** Ranges of hue told apart. */
const BINS = 24;
/** @type {Map<string, {hue: number, chroma: number} | null>} */
const known = new Map();

/**
 * Tints the page after a cover; null goes back to the house colour.
 * @param {string | null} url
 * @param {HTMLElement} [target]
 */
export async function tint(url, target = document.documentElement) {
  const colour = url ? await colourOf(url).catch(() => null) : null;
  if (!colour) {
    target.style.removeProperty("--hue");
    target.style.removeProperty("--chroma");
    return;
  }
  target.classList.add("tinted");
  target.style.setProperty("--hue", colour.hue.toFixed(1));
  target.style.setProperty("--chroma", colour.chroma.toFixed(3));
}

/** @param {string} url */
async function colourOf(url) {
  if (known.has(url)) return known.get(url);
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = SIZE;
  canvas.height = SIZE;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(image, 0, 0, SIZE, SIZE);
  const colour = dominant(context.getImageData(0, 0, SIZE, SIZE).data);
  if (known.size > 200) known.clear();
  known.set(url, colour);
  return colour;
}

/**
 * The colour that a picture is remembered by: the most colourful range of hues, by OKLab chroma
 * and area. A mean over all hues would be a colour that is nowhere in it. Pure.
 * @param {Uint8ClampedArray} pixels RGBA
 * @returns {{hue: number, chroma: number} | null} null for a grey picture
 */
export function dominant(pixels) {
  const bins = Array.from({ length: BINS }, () => ({ a: 0, b: 0, weight: 0 }));
  for (let i = 0; i < pixels.length; i += 4) {
    const { a, b } = oklab(pixels[i], pixels[i + 1], pixels[i + 2]);
    const chroma = Math.hypot(a, b);
    if (chroma < 0.02) continue;
    const bin = bins[Math.floor(((Math.atan2(b, a) / (2 * Math.PI) + 1) % 1) * BINS) % BINS];
    const w = chroma ** 2.5;
    bin.a += a * w;
    bin.b += b * w;
    bin.weight += w;
  }
  // Three neighbours together, so that a hue on a border isn't halved.
  const ranges = bins.map((_, i) => [bins.at(i - 1), bins[i], bins[(i + 1) % BINS]].reduce((sum, x) => ({ a: sum.a + x.a, b: sum.b + x.b, weight: sum.weight + x.weight })));
  const best = ranges.reduce((x, y) => (y.weight > x.weight ? y : x));
  if (best.weight === 0) return null;
  const chroma = Math.hypot(best.a, best.b) / best.weight;
  const hue = ((Math.atan2(best.b, best.a) * 180) / Math.PI + 360) % 360;
  return { hue, chroma: Math.min(0.15, Math.max(0.07, chroma)) };
}

/** sRGB bytes to OKLab (Ottosson 2020). @param {number} r @param {number} g @param {number} b */
function oklab(r, g, b) {
  const linear = (/** @type {number} */ v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const [R, G, B] = [linear(r), linear(g), linear(b)];
  const l = Math.cbrt(0.4122214708 * R + 0.5363325363 * G + 0.0514459929 * B);
  const m = Math.cbrt(0.2119034982 * R + 0.6806995451 * G + 0.1073969566 * B);
  const s = Math.cbrt(0.0883024619 * R + 0.2817188376 * G + 0.6299787005 * B);
  return {
    a: 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    b: 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  };
}
