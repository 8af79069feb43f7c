/**
 * Cover art for the mock server: abstract, drawn as SVG from a seed.
 * @module
 */

/** @param {number} seed @returns {() => number} in [0, 1) (mulberry32) */
function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * @param {number} seed
 * @param {number} hue degrees
 * @returns {string} an SVG document of 1000 × 1000
 */
export function cover(seed, hue) {
  const r = random(seed);
  const base = `hsl(${hue} ${30 + r() * 30}% ${14 + r() * 12}%)`;
  const shapes = [];
  const style = seed % 4;
  if (style === 0) {
    for (let i = 0; i < 9; i += 1) {
      shapes.push(
        `<circle cx="${300 + r() * 80}" cy="${700 - r() * 60}" r="${680 - i * 72}" fill="hsl(${hue + i * 7} ${45 + i * 3}% ${18 + i * 7}%)"/>`,
      );
    }
  } else if (style === 1) {
    for (let i = 0; i < 14; i += 1) {
      const y = 120 + i * 60;
      shapes.push(
        `<path d="M0 ${y} C 250 ${y - 160 * r()}, 480 ${y + 180 * r()}, 1000 ${y - 40 + 80 * r()} V1000 H0Z" fill="hsl(${hue + i * 3} ${40 + r() * 20}% ${70 - i * 4}%)"/>`,
      );
    }
  } else if (style === 2) {
    for (let i = 0; i < 6; i += 1) {
      for (let j = 0; j < 6; j += 1) {
        const l = 25 + ((i * 7 + j * 11 + seed) % 9) * 6;
        shapes.push(
          `<path d="M${i * 167} ${j * 167}h167v167${r() > 0.5 ? `a167 167 0 0 1 -167 -167` : `h-167z`}" fill="hsl(${hue + (r() > 0.8 ? 150 : i * 4)} 48% ${l}%)"/>`,
        );
      }
    }
  } else {
    shapes.push(`<circle cx="500" cy="430" r="270" fill="hsl(${hue + 25} 75% 62%)"/>`);
    for (let i = 0; i < 16; i += 1) {
      shapes.push(`<rect y="${460 + i * 36}" width="1000" height="${6 + i * 2.2}" fill="${base}"/>`);
    }
    shapes.push(`<rect y="960" width="1000" height="60" fill="${base}"/>`);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="1000" viewBox="0 0 1000 1000"><rect width="1000" height="1000" fill="${base}"/>${shapes.join("")}</svg>`;
}
