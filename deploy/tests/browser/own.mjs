// Plays ALBUM through the web player at BASE_URL as a visitor does: opens it, plays, seeks, listens from
// one track into the next, pauses. With SCREENSHOT=FILE keeps a picture of the playing album. Exits with
// 1 where sound does not move or the page complains.

import { launch } from "./chromium.mjs";

const base = process.env.BASE_URL;
// An album of two tracks of 14 s.
const album = process.env.ALBUM;
// Chromium updates the media clock in steps; a busy machine stretches them.
const GAP_MS = 400;
const faults = [];

/** Waits until `condition` holds in the page, else throws `complaint` with the media element's state. */
async function until(page, condition, complaint, ms = 20_000) {
  try {
    await page.waitForFunction(condition, null, { timeout: ms, polling: 30 });
  } catch {
    const state = await page.evaluate(() => {
      const audio = document.getElementById("audio");
      return audio ? `at ${audio.currentTime}, ready ${audio.readyState}, paused ${audio.paused}, ${audio.error?.message ?? "no media error"}` : "no audio element";
    });
    throw new Error(`${complaint} (${state})`);
  }
}

/** Seconds that the clock moves by in half a second. */
async function moved(page) {
  const at = () => page.evaluate(() => document.getElementById("audio").currentTime);
  const before = await at();
  await page.waitForTimeout(500);
  return (await at()) - before;
}

/** Title that the page tells the system is playing. */
const title = (page) => page.evaluate(() => navigator.mediaSession.metadata?.title ?? "");

async function visit(page) {
  await page.goto(`${base}/`);
  const tile = page.locator(".tile", { hasText: album }).first();
  await tile.waitFor({ state: "attached", timeout: 20_000 });
  const since = Date.now();
  // Shown on hover only; a visitor with a mouse is there already.
  await tile.locator(".tile-play").dispatchEvent("click");
  await until(page, () => document.getElementById("audio").currentTime > 0.05, "no sound starts");
  console.log(`own player: sound ${Date.now() - since} ms after the click`);
  const span = await moved(page);
  if (span < 0.3) faults.push(`the clock moved by ${span} s in 0.5 s`);
  if (process.env.SCREENSHOT) {
    await tile.locator(".tile-title").click();
    await page.waitForTimeout(1500);
    await page.screenshot({ path: process.env.SCREENSHOT });
  }
  await seekAndRunOn(page);
  await page.keyboard.press("Space");
  await until(page, () => document.getElementById("audio").paused, "does not pause");
}

/** Seeks towards the end of the first track and listens into the second. */
async function seekAndRunOn(page) {
  const first = await title(page);
  await page.evaluate(() => (window.before = document.getElementById("audio").currentTime));
  await page.keyboard.press("ArrowRight");
  await until(page, () => document.getElementById("audio").currentTime > window.before + 2, "does not seek forward");
  const after = await moved(page);
  if (after < 0.2) faults.push(`after a seek the clock moved by ${after} s in 0.5 s`);
  // Longest time that the clock stood still while one track ran into the next.
  await page.evaluate(() => {
    const audio = document.getElementById("audio");
    let last = { clock: audio.currentTime, wall: performance.now() };
    window.stall = 0;
    window.watcher = setInterval(() => {
      const now = { clock: audio.currentTime, wall: performance.now() };
      if (now.clock !== last.clock) last = now;
      window.stall = Math.max(window.stall, now.wall - last.wall);
    }, 5);
  });
  await until(page, `navigator.mediaSession.metadata?.title !== ${JSON.stringify(first)}`, "the next track does not follow", 30_000);
  await page.waitForTimeout(700);
  const stall = await page.evaluate(() => (clearInterval(window.watcher), window.stall));
  console.log(`own player: “${first}” ran into “${await title(page)}”, the clock stood for at most ${stall.toFixed(0)} ms`);
  if (stall > GAP_MS) faults.push(`the clock stood still for ${stall} ms between tracks`);
}

const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("response", (answer) => {
    if (answer.status() >= 400) faults.push(`${answer.status()} for ${new URL(answer.url()).pathname}`);
  });
  await visit(page);
} catch (error) {
  faults.push(error.message);
} finally {
  await browser.close();
}
for (const fault of faults) console.error(fault);
process.exit(faults.length > 0 ? 1 : 0);
