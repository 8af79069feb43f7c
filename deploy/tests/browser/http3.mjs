// Fetches URL with HTTP/3 forced on and checks that HTTP/3 it was. Exits with 1 where it was not.

import { createHash } from "node:crypto";
import { connect } from "node:tls";

import { launch } from "./chromium.mjs";

/** Base64 SHA-256 of the public key that a TLS server shows. */
function publicKeyDigest(host, port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false, servername: "localhost" }, () => {
      const key = socket.getPeerX509Certificate().publicKey.export({ type: "spki", format: "der" });
      socket.end();
      resolve(createHash("sha256").update(key).digest("base64"));
    });
    socket.on("error", reject);
  });
}

const url = new URL(process.env.URL);
const spki = await publicKeyDigest(url.hostname, Number(url.port));
const browser = await launch({ quic: url.host, spki });
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(`${url.origin}/`, { waitUntil: "load" });
  const result = await page.evaluate(async (target) => {
    const answer = await fetch(target, { headers: { Range: "bytes=0-49999" } });
    const body = await answer.arrayBuffer();
    const entry = performance.getEntriesByName(target).at(-1);
    return { status: answer.status, bytes: body.byteLength, protocol: entry?.nextHopProtocol };
  }, url.href);
  console.log(`chromium: ${result.status}, ${result.bytes} bytes by ${result.protocol}`);
  process.exitCode = result.status === 206 && result.protocol === "h3" ? 0 : 1;
  if (process.exitCode) console.error(`not a range by HTTP/3: ${JSON.stringify(result)}`);
} finally {
  await browser.close();
}
