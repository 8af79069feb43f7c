// Appends whole renditions to a SourceBuffer each, and reads what is buffered. Reads REQUEST from the
// environment: {base, token, files: [{name, path, mime, seconds}]}. Exits with 1 where one is off by
// more than a sample.

import { launch } from "./chromium.mjs";

const request = JSON.parse(process.env.REQUEST);
// Chromium keeps buffered ranges in whole microseconds.
const TOLERANCE = 1 / 48000 + 2e-6;

const browser = await launch();
let failed = 0;
try {
  const page = await browser.newPage();
  await page.route("**/__exact/**", (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html><title>exact</title>" }),
  );
  await page.goto(`${request.base}/__exact/page.html`);
  let worst = 0;
  for (const { name, path, mime, seconds } of request.files) {
    const ranges = await page.evaluate(
      async ({ url, mime }) => {
        const audio = document.createElement("audio");
        const source = new MediaSource();
        audio.src = URL.createObjectURL(source);
        const heard = (target, event) =>
          new Promise((done, fail) => {
            target.addEventListener(event, done, { once: true });
            target.addEventListener("error", () => fail(new Error(`error of ${target}`)), { once: true });
          });
        await heard(source, "sourceopen");
        const buffer = source.addSourceBuffer(mime);
        const bytes = await (await fetch(url)).arrayBuffer();
        const done = heard(buffer, "updateend");
        buffer.appendBuffer(bytes);
        await done;
        const found = [...Array(buffer.buffered.length).keys()].map((i) => [buffer.buffered.start(i), buffer.buffered.end(i)]);
        URL.revokeObjectURL(audio.src);
        return found;
      },
      { url: `${request.base}/~${request.token}${path}`, mime },
    );
    const off = ranges.length === 1 ? Math.max(ranges[0][0], Math.abs(ranges[0][1] - seconds)) : Infinity;
    worst = Math.max(worst, off);
    if (off > TOLERANCE) {
      failed += 1;
      console.error(`${name}: buffered ${JSON.stringify(ranges)}, not 0 to ${seconds}`);
    }
  }
  console.log(`${request.files.length} renditions buffered, off by ${(worst * 1e6).toFixed(1)} µs at most`);
} finally {
  await browser.close();
}
process.exit(failed > 0 ? 1 : 0);
