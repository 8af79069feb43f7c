// Starts the Chromium that the tests drive. Owns its flags, and nothing of what is tested.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  "--ignore-certificate-errors",
];

function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      if (existsSync(join(directory, name))) return join(directory, name);
    }
  }
  throw new Error("no chromium on PATH");
}

/**
 * A headless browser. QUIC is off unless `quic` says for which `host:port` it is forced on, and
 * `spki` which key to trust there (base64 SHA-256): QUIC heeds no --ignore-certificate-errors.
 */
export function launch({ quic, spki } = {}) {
  const args = [...FLAGS];
  if (quic) {
    args.push("--enable-quic", `--origin-to-force-quic-on=${quic}`);
    args.push(`--ignore-certificate-errors-spki-list=${spki}`);
  } else {
    args.push("--disable-quic");
  }
  return chromium.launch({ executablePath: executable(), headless: true, args });
}
