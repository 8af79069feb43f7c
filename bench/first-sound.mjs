// Measures, RUNS times with a fresh profile each, from the start of the navigation to BASE_URL/ until
// the media element's clock moves. The first album's play button is pressed the moment it exists.

import { launch } from "../deploy/tests/browser/chromium.mjs";

const base = process.env.BASE_URL;
const runs = Number(process.env.RUNS ?? 15);

/** Runs in the page before any of its scripts: presses play, and notes when what happened. */
function watch() {
  const times = (window.times = {});
  const timer = setInterval(() => {
    const button = document.querySelector(".tile-play");
    if (button && !times.clickable) {
      times.clickable = performance.now();
      button.click();
    }
    if (document.getElementById("audio")?.currentTime > 0) {
      times.sound = performance.now();
      clearInterval(timer);
    }
  }, 1);
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const browser = await launch();
const results = [];
try {
  for (let run = 0; run <= runs; run += 1) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.addInitScript(watch);
    await page.goto(`${base}/`);
    await page.waitForFunction(() => window.times.sound, null, { timeout: 20_000, polling: 20 });
    // The first one warms the browser, not the measurement.
    if (run > 0) results.push(await page.evaluate(() => window.times));
    await context.close();
  }
} finally {
  await browser.close();
}
const sound = results.map((r) => r.sound);
const clickable = results.map((r) => r.clickable);
const press = results.map((r) => r.sound - r.clickable);
const show = (name, list) =>
  console.log(`${name}: median ${median(list).toFixed(0)} ms, best ${Math.min(...list).toFixed(0)}, worst ${Math.max(...list).toFixed(0)}`);
console.log(`${results.length} runs, Chromium ${browser.version()}, everything on this machine`);
show("GET / to an album that can be played", clickable);
show("pressing play to first sound        ", press);
show("GET / to first sound                ", sound);
