// Plays tracks through hls.js, Shaka, dash.js and the browser's own HLS player, and watches the media
// element. Reads REQUEST from the environment:
// {base, token, tracks: [{name, id, duration, renditions: [{id, valid, timescale}]}]}.
// Prints a line a case; exits with 1 where one failed.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { launch } from "./chromium.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const request = JSON.parse(process.env.REQUEST);
const SAMPLE = 1 / 48000;
// Chromium keeps buffered ranges in whole microseconds.
const TOLERANCE = SAMPLE + 2e-6;
const CASE_MS = 25_000;

const libraries = {
  "hls.js": "node_modules/hls.js/dist/hls.min.js",
  shaka: "node_modules/shaka-player/dist/shaka-player.compiled.js",
  "dash.js": "node_modules/dashjs/dist/modern/umd/dash.all.min.js",
};

// Each runs in the page: attaches a player to `audio` and starts it.
const starters = {
  "hls.js": (url) => {
    const hls = new Hls({ maxBufferLength: 60 });
    hls.on(Hls.Events.ERROR, (_, data) => {
      if (data.fatal) window.failure = `hls.js: ${data.type} ${data.details} ${data.error ?? ""}`;
    });
    hls.loadSource(url);
    hls.attachMedia(audio);
  },
  shaka: async (url) => {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", (event) => {
      window.failure = `shaka: ${event.detail.code} ${event.detail.data}`;
    });
    player.configure({ streaming: { bufferingGoal: 60 } });
    await player.attach(audio);
    await player.load(url);
  },
  "dash.js": (url) => {
    const player = dashjs.MediaPlayer().create();
    player.on(dashjs.MediaPlayer.events.ERROR, (event) => {
      window.failure = `dash.js: ${event.error?.code} ${event.error?.message}`;
    });
    player.updateSettings({ streaming: { buffer: { bufferTimeDefault: 60, bufferTimeAtTopQuality: 60 } } });
    player.initialize(audio, url, true);
  },
  browser: (url) => {
    audio.src = url;
  },
};

function cases(track, full) {
  const path = `${request.base}/~${request.token}/v1/tracks/${track.id}`;
  const end = (id) => {
    const found = track.renditions.find((r) => r.id === id);
    return found ? found.valid / found.timescale : track.duration;
  };
  const list = [
    { player: "hls.js", what: "HLS", url: `${path}/index.m3u8`, end: track.duration },
    { player: "shaka", what: "HLS", url: `${path}/index.m3u8`, end: track.duration },
    { player: "shaka", what: "DASH", url: `${path}/manifest.mpd`, end: track.duration },
    { player: "dash.js", what: "DASH", url: `${path}/manifest.mpd`, end: track.duration },
    // Chromium's own player changes no codec, so it is offered one; and buffers as it sees fit.
    ...["opus", "aac-lc"].map((codec) => ({
      player: "browser",
      what: `HLS, ${codec}`,
      url: `${path}/index.m3u8?codecs=${codec}`,
      end: track.duration,
      lazy: true,
    })),
  ];
  if (!full) return list;
  for (const { id } of track.renditions) {
    list.push({ player: "hls.js", what: id, url: `${path}/${id}.m3u8`, end: end(id), brief: true });
  }
  list.push({
    player: "hls.js",
    what: "segment URLs",
    url: `${path}/opus-96.m3u8?addressing=segments`,
    end: end("opus-96"),
    brief: true,
  });
  return list;
}

/** Opens a page of the stack's own origin that has the player's script and an audio element. */
async function open(context, player) {
  const page = await context.newPage();
  const script = player in libraries ? readFileSync(join(root, libraries[player]), "utf8") : "";
  await page.route("**/__players/**", (route) =>
    route.request().url().endsWith(".js")
      ? route.fulfill({ contentType: "text/javascript", body: script })
      : route.fulfill({
          contentType: "text/html",
          body: '<!doctype html><audio id="audio" controls></audio><script src="player.js"></script>',
        }),
  );
  await page.goto(`${request.base}/__players/page.html`);
  return page;
}

async function play(context, { player, url, end, brief, lazy }) {
  const page = await open(context, player);
  try {
    const able = () => audio.canPlayType("application/vnd.apple.mpegurl") !== "";
    // Chromium before 142 leaves HLS to scripts.
    if (player === "browser" && !(await page.evaluate(able))) return null;
    const since = Date.now();
    await page.evaluate(starters[player], url);
    // Not awaited: where nothing loads, the promise never settles.
    await page.evaluate(() => void audio.play().catch(() => {}));
    await until(page, () => audio.currentTime > 0.2, "no sound starts");
    const first = Date.now() - since;
    if (!lazy) {
      await until(page, () => audio.buffered.length > 0 && audio.buffered.end(audio.buffered.length - 1) > audio.duration - 0.5, "the end is never buffered");
    }
    // The end of stream settles the duration.
    await page.waitForTimeout(150);
    const state = await page.evaluate(() => ({
      ranges: audio.buffered.length,
      start: audio.buffered.start(0),
      end: audio.buffered.end(audio.buffered.length - 1),
      duration: audio.duration,
    }));
    const faults = [];
    if (state.ranges !== 1) faults.push(`${state.ranges} buffered ranges`);
    if (state.start > SAMPLE) faults.push(`buffered from ${state.start}`);
    if (!lazy && Math.abs(state.end - end) > TOLERANCE) faults.push(`buffered to ${state.end}, not ${end}`);
    if (!brief) {
      await page.evaluate(() => (audio.currentTime = 4.2));
      await until(page, () => !audio.seeking && audio.currentTime > 4.4, "does not play on after a seek");
    }
    await page.evaluate(() => (audio.currentTime = audio.duration - 0.4));
    await until(page, () => audio.ended, "never ends");
    return { first, end: state.end, faults };
  } finally {
    await page.close();
  }
}

async function until(page, condition, complaint) {
  const end = Date.now() + CASE_MS;
  while (Date.now() < end) {
    const failure = await page.evaluate(() => window.failure ?? (audio.error && `media error ${audio.error.code} ${audio.error.message}`));
    if (failure) throw new Error(failure);
    if (await page.evaluate(condition)) return;
    await page.waitForTimeout(30);
  }
  const state = await page.evaluate(() => `at ${audio.currentTime} of ${audio.duration}, ready ${audio.readyState}, paused ${audio.paused}`);
  throw new Error(`${complaint} (${state})`);
}

const browser = await launch();
let failed = 0;
try {
  for (const [index, track] of request.tracks.entries()) {
    for (const one of cases(track, index === 0)) {
      const name = `${track.name}  ${one.player.padEnd(7)} ${one.what.padEnd(12)}`;
      // A fresh profile each time: nothing comes from the browser's own cache.
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      try {
        const heard = await play(context, one);
        if (heard === null) {
          console.log(`${name} not to be had in this browser`);
          continue;
        }
        const { first, end, faults } = heard;
        const samples = ((end - one.end) * 48000).toFixed(2);
        console.log(`${name} first sound ${String(first).padStart(5)} ms, end off by ${samples} samples`);
        if (faults.length > 0) throw new Error(faults.join("; "));
      } catch (error) {
        failed += 1;
        console.error(`${name} FAILED: ${error.message}`);
      } finally {
        await context.close();
      }
    }
  }
} finally {
  await browser.close();
}
process.exit(failed > 0 ? 1 : 0);
