/**
 * A headless Chromium for tests: playwright-core from `node_modules`, `$SEGUE_TOOLS` or
 * `$NODE_PATH`, driving the system's browser (`$CHROMIUM`, or `chromium` on the path). With
 * `SEGUE_REQUIRE_TOOLS=1` their absence is a failure; else tests that need them are skipped.
 * @module
 */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";

const ARGS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
  "--autoplay-policy=no-user-gesture-required",
];

/** @returns {any} playwright's chromium, or null where it isn't installed */
function playwright() {
  const roots = [process.env.SEGUE_TOOLS && join(process.env.SEGUE_TOOLS, "node"), ...(process.env.NODE_PATH ?? "").split(":").map((p) => join(p, ".."))];
  for (const root of [import.meta.url, ...roots.filter(Boolean).map((r) => join(r, "package.json"))]) {
    try {
      return createRequire(root)("playwright-core").chromium;
    } catch {
      // Not there: try the next.
    }
  }
  return null;
}

/** @returns {string | null} */
function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      if (existsSync(join(directory, name))) return join(directory, name);
    }
  }
  return null;
}

/**
 * @param {string[]} [args] more arguments
 * @returns {Promise<any>} a browser, or null where there is none
 */
export async function launch(args = []) {
  const chromium = playwright();
  const executablePath = executable();
  if (!chromium || !executablePath) {
    if (process.env.SEGUE_REQUIRE_TOOLS === "1") throw new Error(NO_BROWSER);
    return null;
  }
  return chromium.launch({ executablePath, args: [...ARGS, ...args], headless: true });
}

/** Why tests are skipped when `launch` gives null. */
export const NO_BROWSER = "needs chromium and playwright-core (see CONTRIBUTING.md)";

/**
 * Opens a page that remembers what went wrong on it.
 * @param {any} browser
 * @param {object} [options] of playwright's newContext
 */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on("pageerror", (/** @type {Error} */ error) => errors.push(String(error)));
  page.on("console", (/** @type {any} */ message) => {
    if (message.type() === "error") errors.push(`${message.text()} ${message.location()?.url ?? ""}`);
  });
  return { page, context, errors };
}
