// The player in a browser: against the mock server, or against the stack at $BASE_URL. What needs
// faults or a known tone always runs against the mock.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { NO_BROWSER, launch, openPage } from "./browser.mjs";
import { available } from "./fixtures.mjs";
import { serve, world } from "./mock-server.mjs";

const BASE_URL = process.env.BASE_URL?.replace(/\/$/, "");
const browser = await launch();
const skip = browser ? false : NO_BROWSER;
const skipMock = skip || (available() ? false : "needs ffmpeg");
const skipEither = BASE_URL ? skip : skipMock;

/** @type {any} */
let mock = null;
before(async () => {
  if (!skipEither && !BASE_URL) mock = await serve();
});
after(async () => {
  await browser?.close();
  await mock?.close();
});

/**
 * Runs `work` on a fresh page; nothing may go wrong on it but what `expected` names.
 * @param {(page: any, context: any) => Promise<void>} work
 * @param {{options?: object, expected?: RegExp, base?: string, path?: string}} [setup]
 */
async function visit(work, { options, expected, base, path = "/" } = {}) {
  const { page, context, errors } = await openPage(browser, options);
  try {
    await page.goto((base ?? BASE_URL ?? mock.url) + path);
    await work(page, context);
    const bad = errors.filter((e) => !expected?.test(e));
    assert.deepEqual(bad, [], "errors on the page");
  } finally {
    await context.close();
  }
}

const state = (page) => page.evaluate(() => __segue.state);

/** Waits until a condition on `__segue.state` holds. */
async function until(page, condition, what, timeout = 20_000) {
  try {
    await page.waitForFunction(`((s) => ${condition})(window.__segue?.state ?? {})`, null, { timeout, polling: 25 });
  } catch {
    assert.fail(`${what}: ${JSON.stringify(await state(page))}`);
  }
}

/** Opens an album of that title, else one with several long tracks. */
async function openAlbum(page, title = "Two Tones") {
  await page.waitForSelector(".tile-title");
  const id = await page.evaluate(async (wanted) => {
    const { albums } = await (await fetch("/api/v1/albums")).json();
    const several = albums.filter((a) => a.track_count > 1).sort((a, b) => b.duration_s / b.track_count - a.duration_s / a.track_count);
    return (albums.find((a) => a.title === wanted) ?? several[0] ?? albums[0]).id;
  }, title);
  await page.evaluate((to) => (location.hash = `#/albums/${to}`), id);
  await page.waitForSelector("#play-all");
}

async function playAlbum(page, title) {
  await openAlbum(page, title);
  await page.click("#play-all");
  await until(page, 's.status === "playing" && s.position > 0.05', "sound after play");
}

describe("the player", { skip: skipEither, concurrency: false }, () => {
  test("plays on a click, with one request before the first sound", async () => {
    await visit(async (page) => {
      const ranges = [];
      page.on("request", (r) => r.url().includes("/media/") && ranges.push(r.headers().range));
      await playAlbum(page);
      const first = await state(page);
      assert.ok(first.startupMs > 0 && first.startupMs < 5000, `first sound after ${first.startupMs} ms`);
      assert.match(ranges[0], /^bytes=0-\d{4,}$/);
      assert.ok(first.firstSoundMs > 0);
      await page.waitForTimeout(1000);
      const later = await state(page);
      assert.ok(later.position > first.position + 0.5, "the clock moves");
      assert.equal(later.rebuffers, 0);
      console.log(`    first sound ${Math.round(first.startupMs)} ms after the click, ${Math.round(first.firstSoundMs)} ms after navigation`);
    });
  });

  test("goes to the next track without a gap", async () => {
    await visit(async (page) => {
      await playAlbum(page);
      const { duration, track } = await state(page);
      await page.evaluate((to) => __segue.player.seek(to), Math.max(0, duration - 2.5));
      await until(page, "s.advances === 1 && s.position > 0.7", "the next track");
      const now = await state(page);
      assert.notEqual(now.track.id, track.id);
      assert.equal(now.rebuffers, 0);
      assert.equal(now.queue.index, 1);
      const around = now.buffered.filter(([from, to]) => from < now.currentTime - 1 && to > now.currentTime);
      assert.equal(around.length, 1, `one range over the joint: ${JSON.stringify(now.buffered)}`);
      const joint = now.currentTime - now.position;
      assert.ok(around[0][0] < joint - 0.5 && around[0][1] > joint + 0.5);
      assert.equal(now.buffered.length, 1);
    });
  });

  test("seeks inside and outside of the buffer", async () => {
    await visit(async (page) => {
      await playAlbum(page, "Slow Weather");
      const { duration } = await state(page);
      for (const share of [0.1, 0.9, 0.4]) {
        await page.evaluate((to) => __segue.player.seek(to), duration * share);
        await until(page, `s.status === "playing" && s.position > ${duration * share} && s.position < ${duration * share + 3}`, `sound at ${share}`);
      }
      const box = await page.locator(".bar .seek").boundingBox();
      await page.mouse.click(box.x + box.width * 0.7, box.y + box.height / 2);
      await until(page, `s.status === "playing" && Math.abs(s.position - ${duration * 0.7}) < 3`, "sound where the line was clicked");
      assert.equal((await state(page)).rebuffers, 0);
    });
  });

  test("switches quality by hand, across codecs, while playing", async () => {
    await visit(async (page) => {
      await playAlbum(page, "Slow Weather");
      const ids = await page.evaluate(() => __segue.player.track.renditions.map((r) => r.id));
      const wanted = ["opus-32", "flac", "opus-64"].filter((id) => ids.includes(id));
      assert.ok(wanted.length > 1, ids.join(" "));
      for (const id of wanted) {
        await page.evaluate((to) => __segue.player.setQuality(to), id);
        await until(page, `s.rendition === "${id}" && s.status === "playing"`, `${id} is heard`);
        await page.waitForTimeout(300);
        const { buffered, currentTime } = await state(page);
        assert.ok(buffered.some(([a, b]) => a <= currentTime && b > currentTime));
        assert.equal(buffered.length, 1, JSON.stringify(buffered));
      }
      await page.click(".bar .quality");
      await page.click('.menu [role="menuitemradio"]:has-text("Auto")');
      assert.equal((await state(page)).quality, "auto");
      await page.waitForTimeout(500);
      assert.equal((await state(page)).rebuffers, 0);
    });
  });

  test("obeys the keyboard", async () => {
    await visit(async (page) => {
      await playAlbum(page, "Slow Weather");
      // The button that was clicked last has the focus; Space is play and pause all the same.
      await page.keyboard.press("Space");
      await until(page, 's.status === "paused"', "paused");
      assert.ok((await state(page)).position > 0);
      const { position } = await state(page);
      await page.keyboard.press("ArrowRight");
      await until(page, `Math.abs(s.position - ${position + 5}) < 0.3`, "five seconds on");
      await page.keyboard.press("ArrowLeft");
      await until(page, `Math.abs(s.position - ${position}) < 0.3`, "five seconds back");
      await page.keyboard.press("Space");
      await until(page, 's.status === "playing"', "playing again");
      await page.keyboard.press("Shift+ArrowRight");
      await until(page, 's.queue.index === 1 && s.status === "playing"', "the next track");
      await page.keyboard.press("Shift+ArrowLeft");
      await until(page, "s.queue.index === 0", "the track before");
      const volume = () => page.evaluate(() => [__segue.player.volume, __segue.player.muted]);
      const [before] = await volume();
      await page.keyboard.press("ArrowDown");
      assert.ok((await volume())[0] < before);
      await page.keyboard.press("m");
      assert.equal((await volume())[1], true);
      await page.keyboard.press("m");
      await page.keyboard.press("?");
      await page.waitForSelector("dialog.help[open]");
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog.help", { state: "detached" });
      await page.keyboard.press("f");
      await page.waitForSelector(".now:not([hidden])");
      await page.keyboard.press("Escape");
      await page.waitForSelector(".now", { state: "hidden" });
      await page.keyboard.press("/");
      assert.equal(await page.evaluate(() => document.activeElement.id), "search");
    });
  });

  test("finds what is searched for, and deep links open", async () => {
    await visit(async (page, context) => {
      await page.waitForSelector(".tile-title");
      const title = await page.locator(".tile-title").first().textContent();
      await page.keyboard.press("/");
      await page.keyboard.type(title.slice(0, 8));
      await page.waitForSelector(`.part .tile-title:text-is("${title}")`);
      await page.click(`.part .tile-title:text-is("${title}")`);
      await page.waitForSelector("#play-all");
      const address = page.url();
      const other = await context.newPage();
      await other.goto(address);
      await other.waitForSelector("#play-all");
      assert.equal(await other.locator(".album h1").textContent(), title);
      await page.goBack();
      await page.waitForSelector(".part");
    });
  });

  test("keeps playlists: create, add, reorder by key and by drag, rename, remove, delete", async () => {
    await visit(async (page) => {
      await openAlbum(page, "Slow Weather");
      const name = `Test ${Math.random().toString(36).slice(2, 8)}`;
      for (const row of [0, 1]) {
        await page.locator(".track-more").nth(row).click();
        await page.click('.menu button:has-text("Add to playlist")');
        await page.waitForSelector('.menu button:has-text("New playlist")');
        if (row === 0) {
          await page.click('.menu button:has-text("New playlist")');
          await page.fill("dialog input", name);
          await page.keyboard.press("Enter");
        } else await page.click(`.menu button:has-text("${name}")`);
        await page.waitForSelector(`.toast:has-text("${name}")`);
        await page.waitForFunction(() => !document.querySelector("dialog[open], .menu"));
        await page.evaluate(() => document.querySelector(".toasts").replaceChildren());
      }
      await page.click('.places a:has-text("Playlists")');
      await page.click(`.playlists a:has-text("${name}")`);
      await page.waitForSelector(".playlist .track");
      const titles = () => page.locator(".playlist .track-title").allTextContents();
      const [a, b] = await titles();
      await page.locator(".grip").first().focus();
      await Promise.all([page.waitForResponse((r) => r.url().includes("/order")), page.keyboard.press("ArrowDown")]);
      assert.deepEqual(await titles(), [b, a]);
      const rows = await page.locator(".playlist .track").all();
      await rows[0].hover();
      const grip = await rows[0].locator(".grip").boundingBox();
      await page.mouse.move(grip.x + 10, grip.y + 10);
      await page.mouse.down();
      await page.mouse.move(grip.x + 10, grip.y + 75, { steps: 6 });
      await Promise.all([page.waitForResponse((r) => r.url().includes("/order")), page.mouse.up()]);
      assert.deepEqual(await titles(), [a, b]);
      await page.reload();
      await page.waitForSelector(".playlist .track");
      assert.deepEqual(await titles(), [a, b]);
      await page.click('[aria-label="Rename"]');
      await page.fill("dialog input", `${name}!`);
      await page.keyboard.press("Enter");
      await page.waitForSelector(`h1:has-text("${name}!")`);
      await page.locator(".track-more").first().click();
      await page.click('.menu button:has-text("Remove from playlist")');
      await page.waitForFunction(() => document.querySelectorAll(".playlist .track").length === 1);
      await page.click('.actions [aria-label="Delete"]');
      await page.click('dialog button:has-text("Delete")');
      await page.waitForFunction(() => location.hash === "#/playlists");
      await page.waitForFunction((n) => !document.body.innerText.includes(n), name);
    });
  });

  test("the queue shows and obeys", async () => {
    await visit(async (page) => {
      await playAlbum(page, "Slow Weather");
      const { queue } = await state(page);
      await page.keyboard.press("q");
      await page.waitForSelector(".thread .track.current");
      assert.equal(await page.locator(".thread .track").count(), queue.length);
      const second = await page.locator(".thread .track-title").nth(1).textContent();
      await page.locator(".thread .grip").nth(1).focus();
      await page.keyboard.press("ArrowUp");
      await page.waitForFunction((t) => document.querySelector(".thread .track-title")?.textContent === t, second);
      await until(page, "s.queue.index === 1", "what plays moved down");
      await page.locator(".thread .track").first().click();
      await until(page, 's.queue.index === 0 && s.status === "playing"', "the moved track plays");
      assert.equal((await state(page)).track.title, second);
    });
  });

  test("a reload finds the queue and the position again", async () => {
    await visit(async (page) => {
      await playAlbum(page, "Slow Weather");
      const { duration } = await state(page);
      const target = Math.min(20, duration / 3);
      await page.evaluate((to) => __segue.player.seek(to), target);
      await until(page, `s.status === "playing" && s.position > ${target + 0.2}`, "sound there");
      const before = await state(page);
      await page.reload();
      await until(page, 's.status === "paused"', "restored");
      await until(page, `Math.abs(s.position - ${before.position}) < 2`, "position");
      const now = await state(page);
      assert.deepEqual(now.track, before.track);
      await page.click(".bar .play");
      await until(page, `s.status === "playing" && s.position > ${before.position}`, "plays on");
    });
  });

  test("on a phone nothing is wider than the screen, and the full screen opens", async () => {
    const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
    await visit(async (page) => {
      const fits = async (what) => {
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= 390, `${what} is ${width} wide`);
      };
      await page.waitForSelector(".tile-title");
      await fits("albums");
      await openAlbum(page, "Everything in the Garden Is Growing at Once");
      await fits("album");
      await page.tap("#play-all");
      await until(page, 's.status === "playing"', "sound after a tap");
      await fits("album with bar");
      await page.tap(".bar-now");
      await page.waitForSelector(".now:not([hidden])");
      await fits("now playing");
      await page.tap(".now .play");
      await until(page, 's.status === "paused"', "paused");
      await page.tap('.now [aria-label="Close"]');
      for (const place of ["artists", "playlists", "queue", "search"]) {
        await page.tap(`.places [data-place=${place}]`);
        await page.waitForFunction((p) => location.hash.includes(p), place);
        await page.waitForTimeout(150);
        await fits(place);
      }
    }, { options: phone });
  });

  test("every control has a name, and one heading leads each page", async () => {
    await visit(async (page) => {
      await playAlbum(page, "Slow Weather");
      for (const hash of ["#/", "#/artists", "#/playlists", "#/queue"]) {
        await page.evaluate((to) => (location.hash = to), hash);
        await page.waitForSelector("main h1");
        const nameless = await page.evaluate(() =>
          [...document.querySelectorAll("button, a, input, [role=slider]")]
            .filter((n) => !n.closest("[hidden], [aria-hidden=true]") && !(n.getAttribute("aria-label") || n.textContent.trim() || n.labels?.length))
            .map((n) => n.outerHTML.slice(0, 100)),
        );
        assert.deepEqual(nameless, []);
        assert.equal(await page.locator("main h1").count(), 1);
      }
    });
  });
});

describe("against the mock", { skip: skipMock, concurrency: false }, () => {
  const worldly = async (knobs, work, setup = {}) => {
    const server = await serve(world(knobs));
    try {
      await visit((page, context) => work(page, server.world, context), { base: server.url, ...setup });
    } finally {
      await server.close();
    }
  };

  test("joins tracks to the sample", async () => {
    await worldly({}, async (page) => {
      await openAlbum(page);
      // A tone cut in two: over the joint it has to go on as if it had not been cut. Lossless, for
      // a lossy encoder's own onset is a click of its own.
      await page.evaluate(() => __segue.player.setQuality("flac"));
      const joint = await page.evaluate(recordJoint);
      assert.ok(joint.seconds > 0.8, `recorded ${joint.seconds} s`);
      assert.ok(joint.level > 0.25, `level ${joint.level}`);
      assert.ok(joint.worst < 0.01, `click of ${joint.worst} at ${joint.at} s`);
      const buffered = (await state(page)).buffered;
      const exact = (12 * 48_000 + 311 + 9 * 48_000 + 77) / 48_000;
      assert.ok(Math.abs(buffered.at(-1)[1] - exact) < 30e-6, `ends at ${buffered.at(-1)[1]}, not ${exact}`);
    });
  });

  test("no music yet: says how to bring some", async () => {
    await worldly({ empty: true }, async (page) => {
      await page.waitForSelector("code:has-text('segue ingest ~/Music')");
    });
  });

  test("an unreachable server: says so, and recovers", async () => {
    const knobs = { fault: (path) => (path === "/api/v1/albums" ? -1 : null) };
    await worldly(knobs, async (page) => {
      await page.waitForSelector(".notice:has-text('No answer')");
      knobs.fault = () => null;
      await page.click("text=Try again");
      await page.waitForSelector(".tile-title");
    }, { expected: /ERR_/ });
  });

  test("a token that is refused is renewed without a word", async () => {
    await worldly({}, async (page, w) => {
      await playAlbum(page, "Slow Weather");
      w.tokens.clear();
      await page.evaluate(() => __segue.player.seek(40));
      await until(page, 's.status === "playing" && s.position > 40.2', "sound with a new token");
    }, { expected: /403/ });
  });

  test("a server that stumbles is asked again", async () => {
    let n = 0;
    const knobs = { fault: (path) => (path.startsWith("/media/") && (n += 1) % 3 === 1 ? 503 : null) };
    await worldly(knobs, async (page) => {
      await playAlbum(page, "Slow Weather");
      await page.evaluate(() => __segue.player.seek(40));
      await until(page, 's.status === "playing" && s.position > 41', "sound all the same");
    }, { expected: /503/ });
  });

  test("a track that is gone is skipped, with a word", async () => {
    const knobs = { fault: null };
    await worldly(knobs, async (page, w) => {
      const gone = [...w.tracks.values()].find((t) => t.title === "First Light");
      knobs.fault = (path) => (path.includes(gone.id) && path.startsWith("/media/") ? 404 : null);
      await openAlbum(page, "Slow Weather");
      await page.click("#play-all");
      await page.waitForSelector(".toast:has-text('First Light')");
      await until(page, 's.status === "playing" && s.track.title === "Isobars"', "the next one plays");
    }, { expected: /404/ });
  });

  test("bytes that can't be decoded: starts over where it was", async () => {
    let bad = 0;
    const knobs = { corrupt: (path, start) => start > 200_000 && (bad += 1) === 1 };
    await worldly(knobs, async (page) => {
      await playAlbum(page, "Slow Weather");
      await page.evaluate(() => __segue.player.seek(30));
      await until(page, 's.status === "playing" && s.position > 31', "sound all the same");
      assert.ok(bad > 0);
      assert.equal((await state(page)).track.title, "First Light");
    });
  });

  test("what the pointer goes down on is fetched before the click", async () => {
    await worldly({ latency: 150 }, async (page, w) => {
      await openAlbum(page, "Slow Weather");
      await page.waitForTimeout(1200);
      const box = await page.locator(".track").nth(3).boundingBox();
      await page.mouse.move(box.x + 200, box.y + 20);
      await page.mouse.down();
      await page.waitForTimeout(120);
      await page.mouse.up();
      await until(page, 's.status === "playing" && s.track.title === "The Long Field"', "sound");
      const asked = w.mediaLog.filter((m) => /^bytes=0-\d{4,}/.test(m.range) && m.path.includes([...w.tracks.values()].find((t) => t.title === "The Long Field").id));
      assert.equal(asked.length, 1, "one start request, used");
    });
  });

  test("a narrow line: a low rung, and no interruption", async () => {
    await worldly({ rate: 110e3, latency: 60 }, async (page) => {
      await playAlbum(page, "Slow Weather");
      await page.waitForTimeout(9000);
      const { rebuffers, rendition, position } = await state(page);
      assert.ok(["opus-32", "opus-64"].includes(rendition), rendition);
      assert.ok(rebuffers <= 1 && position > 6, JSON.stringify({ rebuffers, position }));
    });
  });

  test("a line that collapses and comes back: down, and up again", async () => {
    const knobs = { rate: 3e6, latency: 20 };
    await worldly(knobs, async (page, w) => {
      await playAlbum(page, "Slow Weather");
      await page.evaluate(() => __segue.player.seek(2));
      knobs.rate = 90e3;
      await page.evaluate(() => __segue.player.seek(45));
      await until(page, 's.status === "playing" && (s.rendition === "opus-32" || s.rendition === "opus-64")', "a lower rung", 30_000);
      knobs.rate = 8e6;
      const before = w.mediaLog.length;
      await page.waitForTimeout(6000);
      assert.ok(w.mediaLog.slice(before).some((m) => m.path.includes("opus-160")), "the top rung is asked for again");
    });
  });

  test("a play right after another starts at once and leaves one track", async () => {
    await worldly({ latency: 80 }, async (page, w) => {
      await openAlbum(page, "Slow Weather");
      for (const row of [0, 3, 1, 4, 2]) {
        await page.locator(".track-play").nth(row).click();
        await page.waitForTimeout(60);
      }
      await until(page, 's.status === "playing" && s.position > 0.3', "sound");
      const now = await state(page);
      assert.equal(now.track.title, "A Front Comes In");
      assert.equal(now.queue.index, 2);
      assert.ok(now.startupMs < 1500, `${now.startupMs} ms`);
      assert.equal(w.mediaLog.at(-1).headers["cmcd-session"].includes("sid="), true);
    });
  });

  test("the queue changed at the last moment is what is heard", async () => {
    await worldly({}, async (page, w) => {
      await playAlbum(page);
      await until(page, "s.buffered.at(-1)[1] > 20", "the next track is buffered");
      const other = [...w.tracks.values()].find((t) => t.title === "Patina");
      await page.evaluate(async (id) => {
        const t = await (await fetch(`/api/v1/tracks/${id}`)).json();
        __segue.player.queue.addNext([t]);
      }, other.id);
      await page.evaluate(() => __segue.player.seek(__segue.player.duration - 2));
      await until(page, 's.advances === 1 && s.position > 0.5', "the next track");
      const now = await state(page);
      assert.equal(now.track.title, "Patina");
      assert.equal(now.rebuffers, 0);
      assert.equal(now.buffered.length, 1, JSON.stringify(now.buffered));
    });
  });

  test("the end is the end, and play begins again", async () => {
    await worldly({}, async (page) => {
      await openAlbum(page);
      await page.locator(".track-play").nth(1).click();
      await until(page, 's.status === "playing"', "sound");
      await page.evaluate(() => __segue.player.seek(8));
      await until(page, 's.status === "ended"', "the end");
      await page.click(".bar .play");
      await until(page, 's.status === "playing" && s.position > 0.2 && s.position < 4', "from the start");
    });
  });

  test("repeating one track joins it to itself", async () => {
    await worldly({}, async (page) => {
      await openAlbum(page);
      await page.evaluate(() => __segue.player.queue.setRepeat("one"));
      await page.locator(".track-play").nth(1).click();
      await until(page, 's.status === "playing"', "sound");
      await page.evaluate(() => __segue.player.seek(7.5));
      await until(page, "s.advances === 1 && s.position > 0.5", "again from the start");
      const now = await state(page);
      assert.equal(now.track.title, "Tone, Part Two");
      assert.equal(now.rebuffers, 0);
    });
  });
});

/**
 * In the page: plays the album's joint into a recorder, and looks at half a second around it. A
 * pure tone obeys x[n+1] = 2cos(ω)·x[n] − x[n−1]; how far it doesn't is the size of a click. A busy
 * machine drops blocks of its own, at random places; so the cleanest of a few takes counts, for a
 * click in the joint would be in all of them.
 */
async function recordJoint() {
  const { player, element } = window.__segue;
  const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
  player.setNormalization("off");
  player.setVolume(1);
  const context = new AudioContext({ sampleRate: 48_000, latencyHint: "playback" });
  const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process([input]) { if (input[0]) this.port.postMessage([currentTime, input[0].slice()]); return true; }
  });`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(context, "tap");
  const silent = context.createGain();
  silent.gain.value = 0;
  context.createMediaElementSource(element).connect(tap).connect(silent).connect(context.destination);
  await context.resume();

  let best = { worst: Infinity, at: 0, level: 0, seconds: 0 };
  for (let take = 0; take < 5 && best.worst > 0.01; take += 1) {
    const { advances } = player.stats;
    if (take === 0) document.querySelector("#play-all").click();
    else player.jump(player.queue.entries[0].key);
    while (player.position < 0.1 || player.queue.cursor > 0) await sleep(20);
    player.seek(9);
    while (player.position < 11) await sleep(20);
    const blocks = [];
    tap.port.onmessage = ({ data }) => blocks.push(data);
    while (player.stats.advances === advances) await sleep(5);
    const joint = context.currentTime - player.position;
    while (player.position < 0.8) await sleep(20);
    tap.port.onmessage = null;
    const near = blocks.filter(([at]) => Math.abs(at - joint) < 0.5);
    const sound = new Float32Array(near.length * 128);
    near.forEach(([, block], i) => sound.set(block, i * 128));
    const turn = 2 * Math.cos((2 * Math.PI * 440) / 48_000);
    let [worst, at, level] = [0, 0, 0];
    for (let n = 1; n + 1 < sound.length; n += 1) {
      level = Math.max(level, Math.abs(sound[n]));
      const off = Math.abs(sound[n + 1] - turn * sound[n] + sound[n - 1]);
      if (off > worst) [worst, at] = [off, n / 48_000];
    }
    if (worst < best.worst) best = { worst, at, level, seconds: sound.length / 48_000 };
  }
  await context.close();
  return best;
}
