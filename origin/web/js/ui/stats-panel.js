/**
 * Stats for nerds: what the engine knows, once a second.
 * @module
 */

import { h, iconButton } from "../dom.js";
import { quality, rate, size } from "../format.js";
import { gain } from "../engine/loudness.js";

/** @type {HTMLElement | null} */
let panel = null;
let timer = 0;

/** Opens the panel, or closes it. @param {import("../app.js").App} app */
export function openStats(app) {
  if (panel) return closeStats();
  const rows = h("dl");
  panel = h(
    "aside",
    { class: "stats", "aria-label": "Stats for nerds" },
    h("header", null, h("h2", null, "Stats for nerds"), iconButton("close", "Close", closeStats)),
    rows,
  );
  const update = () => {
    rows.replaceChildren(...facts(app).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
  };
  update();
  timer = setInterval(update, 500);
  document.body.append(panel);
}

function closeStats() {
  clearInterval(timer);
  panel?.remove();
  panel = null;
}

/** @param {import("../app.js").App} app @returns {[string, string][]} */
function facts({ player, settings }) {
  const { stats, rendition, track } = player;
  const scale = gain(track, settings.get("normalization"));
  const lufs = track?.loudness?.track?.integrated_lufs;
  return [
    ["Rendition", rendition ? `${quality(rendition)}, ${rate(rendition.bitrate)} mean` : "–"],
    ["Buffer", `${stats.buffer.toFixed(1)} s`],
    ["Throughput", rate(stats.throughput)],
    ["Protocol", stats.protocol || "–"],
    ["Cache", stats.cacheStatus.replace(/^[^;]*;\s*|;\s*key="[^"]*"/g, "") || "–"],
    ["To sound", stats.sound ? `${Math.round(stats.sound.startup_ms)} ms (${stats.sound.cause})` : "–"],
    ["Rebuffered", `${stats.rebuffers} ×`],
    ["Joined", `${stats.advances} × without a gap`],
    ["Fetched", size(stats.bytes)],
    ["Loudness", typeof lufs === "number" ? `${signed(lufs)} LUFS, ${scale < 1 ? `${signed(20 * Math.log10(scale))} dB` : "as is"}` : "–"],
    ["Track", track ? `${track.id} / ${track.revision}` : "–"],
  ];
}

/** @param {number} value @returns {string} one decimal, with a minus sign that is one */
function signed(value) {
  return value.toFixed(1).replace("-", "−");
}
