/**
 * The buttons that a player has: transport, modes, volume, quality. Each keeps itself up to date.
 * @module
 */

import { h, icon, iconButton, reicon } from "../dom.js";
import { quality as qualityText } from "../format.js";
import { autoLadder, familyOf, playable } from "../engine/codecs.js";
import { openMenu } from "./menu.js";
import { openStats } from "./stats-panel.js";

/** @typedef {import("../app.js").App} App */

/** Previous, play or pause, next. @param {App} app @returns {HTMLElement} */
export function transport({ player }) {
  const play = iconButton("play", "Play", () => player.toggle(), { class: "play" });
  const previous = iconButton("previous", "Previous", () => player.previous());
  const next = iconButton("next", "Next", () => player.next());
  const update = () => {
    const { status } = player;
    const wait = player.wanted && (status === "loading" || status === "stalled");
    reicon(play, player.wanted && status !== "error" ? "pause" : "play", player.wanted && status !== "error" ? "Pause" : "Play");
    play.classList.toggle("waiting", wait);
    next.disabled = !player.queue.upcoming(1).length;
  };
  player.on("status", update);
  player.on("queue", update);
  update();
  return h("div", { class: "transport", role: "group", "aria-label": "Transport" }, previous, play, next);
}

/** @param {App} app @returns {HTMLButtonElement} */
export function shuffleButton({ player }) {
  const button = iconButton("shuffle", "Shuffle", () => player.queue.setShuffled(!player.queue.shuffled), { class: "toggle" });
  const update = () => button.setAttribute("aria-pressed", String(player.queue.shuffled));
  player.on("queue", update);
  update();
  return button;
}

/** @param {App} app @returns {HTMLButtonElement} */
export function repeatButton({ player }) {
  const order = /** @type {const} */ (["off", "all", "one"]);
  const labels = { off: "Repeat", all: "Repeat all", one: "Repeat this track" };
  const button = iconButton("repeat", labels.off, () => player.queue.setRepeat(order[(order.indexOf(player.queue.repeat) + 1) % 3]), { class: "toggle" });
  const update = () => {
    const { repeat } = player.queue;
    button.setAttribute("aria-pressed", String(repeat !== "off"));
    button.setAttribute("aria-label", labels[repeat]);
    button.title = labels[repeat];
    button.dataset.mode = repeat;
  };
  player.on("queue", update);
  update();
  return button;
}

/** @param {App} app @returns {HTMLElement} */
export function volumeControl({ player }) {
  const mute = iconButton("volume", "Mute", () => player.toggleMuted());
  const slider = h("input", { type: "range", min: "0", max: "1", step: "0.01", "aria-label": "Volume", class: "volume" });
  slider.addEventListener("input", () => player.setVolume(Number(slider.value)));
  const update = () => {
    const heard = player.muted ? 0 : player.volume;
    slider.value = String(heard);
    slider.style.setProperty("--level", String(heard));
    slider.setAttribute("aria-valuetext", `${Math.round(heard * 100)} %`);
    reicon(mute, heard === 0 ? "muted" : "volume", heard === 0 ? "Unmute" : "Mute");
  };
  player.on("volume", update);
  update();
  return h("div", { class: "volume-control" }, mute, slider);
}

/**
 * What is heard, and a menu to choose it.
 * @param {App} app
 * @returns {HTMLButtonElement}
 */
export function qualityButton(app) {
  const { player } = app;
  const text = h("span");
  const mode = h("span", { class: "quality-mode" });
  const button = h("button", { type: "button", class: "quality", "aria-haspopup": "menu", title: "Quality" }, text, mode);
  button.addEventListener("click", () => openMenu(button, qualityItems(app), "Quality"));
  const update = () => {
    const { rendition } = player;
    text.textContent = rendition ? qualityText(rendition) : "Quality";
    mode.textContent = player.quality === "auto" ? "auto" : "";
  };
  for (const event of ["time", "track", "quality", "buffer"]) player.on(event, update);
  update();
  return button;
}

/** @param {App} app @returns {import("./menu.js").Item[]} */
function qualityItems(app) {
  const { player, settings } = app;
  const track = player.track;
  const all = track ? playable(track.renditions) : [];
  const family = track ? familyOf(autoLadder(track.renditions)[0]?.codecs ?? "") : "";
  const listed = all.filter((r) => familyOf(r.codecs) === family || familyOf(r.codecs) === "flac");
  const choose = (/** @type {string} */ id) => () => player.setQuality(id);
  const level = settings.get("normalization");
  const normalize = (/** @type {typeof level} */ mode, /** @type {string} */ label, /** @type {string} */ note) => ({
    label,
    note,
    checked: level === mode,
    run: () => player.setNormalization(mode),
  });
  return [
    { label: "Quality", heading: true },
    { label: "Auto", note: "follows the network", checked: player.quality === "auto", run: choose("auto") },
    ...listed.map((r) => ({
      label: qualityText(r),
      note: familyOf(r.codecs) === "flac" ? "lossless" : "",
      checked: player.quality === r.id,
      run: choose(r.id),
    })),
    { label: "Even loudness", heading: true },
    normalize("album", "By album", "as mastered within"),
    normalize("track", "By track", ""),
    normalize("off", "Off", ""),
    { label: "For the curious", heading: true },
    { label: "Stats for nerds", run: () => openStats(app) },
  ];
}

/** A link to the queue. @returns {HTMLElement} */
export function queueLink() {
  return h("a", { href: "#/queue", class: "icon-button", "aria-label": "Queue", title: "Queue" }, icon("queue"));
}
