/**
 * The queue: one thread through the tracks, filled as far as it has been played.
 * @module
 */

import { h, framed } from "../dom.js";
import { length, plural } from "../format.js";
import { reorderable } from "../ui/reorder.js";
import { markCurrent, trackList } from "../ui/track-list.js";
import { choosePlaylist } from "../ui/track-menu.js";
import { notice } from "./states.js";

/** @typedef {import("../app.js").App} App */

/** Rows drawn before the current one, and in all; the rest is a number. */
const BEFORE = 50;
const DRAWN = 300;

/** @param {App} app @returns {import("../app.js").Page} */
export function queue(app) {
  const node = h("div");
  const draw = framed(() => {
    const focus = document.activeElement?.closest?.("[data-key]")?.getAttribute("data-key");
    node.replaceChildren(render(app));
    markCurrent(app, node);
    if (focus) /** @type {HTMLElement | null} */ (node.querySelector(`[data-key="${focus}"] .grip`))?.focus();
  });
  const progress = () => {
    const { position, duration } = app.player;
    node.style.setProperty("--played", duration ? String(Math.min(1, position / duration)) : "0");
  };
  const stops = [app.player.on("queue", draw), app.player.on("time", progress)];
  node.append(render(app));
  progress();
  return { title: "Queue", node, place: "queue", dispose: () => stops.forEach((stop) => stop()) };
}

/** @param {App} app */
function render(app) {
  const { queue: q } = app.player;
  if (!q.current) return notice("Nothing queued", [h("p", null, "Play an album, and what comes next stands here.")]);
  const first = Math.max(0, q.cursor - BEFORE);
  const entries = q.entries.slice(first, first + DRAWN);
  const left = q.entries.slice(q.cursor + 1);
  const seconds = left.reduce((sum, e) => sum + e.track.duration_s, 0);
  const list = trackList(app, entries.map((e) => e.track), {
    lead: "cover",
    grip: true,
    key: (i) => `q${entries[i].key}`,
    play: (i) => app.player.jump(entries[i].key),
    menu: (i) => [{ label: "Remove from queue", run: () => removeEntry(app, entries[i].key) }],
  });
  list.classList.add("thread");
  [...list.children].forEach((row, i) => row.classList.toggle("played", first + i < q.cursor));
  reorderable(list, (from, to) => q.move(entries[from].key, first + to));
  const clear = h("button", { type: "button", class: "ghost-button", disabled: q.entries.length < 2, on: { click: () => q.clear() } }, "Clear");
  const save = h(
    "button",
    {
      type: "button",
      class: "ghost-button",
      "aria-haspopup": "menu",
      on: { click: (/** @type {MouseEvent} */ e) => choosePlaylist(app, /** @type {HTMLElement} */ (e.currentTarget), q.entries.map((x) => x.track)) },
    },
    "Save as playlist",
  );
  return h(
    "div",
    null,
    h(
      "header",
      { class: "head with-action" },
      h("div", null, h("h1", null, "Queue"), h("p", { class: "meta" }, left.length ? `${plural(left.length, "track")} to come · ${length(seconds)}` : "The last track")),
      h("div", { class: "actions" }, save, clear),
    ),
    list,
  );
}

/** @param {App} app @param {number} key */
function removeEntry(app, key) {
  const { queue: q } = app.player;
  if (q.current?.key === key && q.entries.length > 1 && app.player.wanted) {
    const next = q.upcoming(1)[0];
    if (next && next.key !== key) app.player.jump(next.key);
  }
  q.remove(key);
}
