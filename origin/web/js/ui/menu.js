/**
 * A menu that opens at a button; a sheet from below on a phone.
 * @module
 */

import { h, icon } from "../dom.js";

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {string} [note] smaller, beside it
 * @property {boolean} [checked] makes it one of a choice
 * @property {() => void} [run]
 * @property {boolean} [heading] not an item but a heading above some
 */

/** @type {(() => void) | null} */
let closeOpen = null;

/** Closes the menu that is open, if any. @returns {boolean} whether one was */
export function closeMenu() {
  if (!closeOpen) return false;
  closeOpen();
  return true;
}

/**
 * @param {HTMLElement} anchor the button
 * @param {Item[]} items
 * @param {string} label
 */
export function openMenu(anchor, items, label) {
  const again = anchor.getAttribute("aria-expanded") === "true";
  closeMenu();
  if (again) return;
  const nodes = items.map((item) => entry(item, () => close(true)));
  const menu = h("div", { class: "menu", role: "menu", "aria-label": label }, nodes);
  const shade = h("div", { class: "menu-shade" });
  const host = anchor.closest("dialog[open], .now") ?? document.body;
  host.append(shade, menu);
  anchor.setAttribute("aria-expanded", "true");
  place(menu, anchor);

  const outside = (/** @type {Event} */ e) => {
    const target = /** @type {Node} */ (e.target);
    if (!menu.contains(target) && !anchor.contains(target)) close(false);
  };
  const close = (/** @type {boolean} */ back) => {
    menu.remove();
    shade.remove();
    anchor.setAttribute("aria-expanded", "false");
    removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", leave);
    closeOpen = null;
    if (back) anchor.focus({ preventScroll: true });
  };
  const leave = () => close(false);
  closeOpen = () => close(true);
  addEventListener("pointerdown", outside, true);
  addEventListener("resize", leave);
  menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => steer(e, menu));
  (menu.querySelector('[aria-checked="true"]') ?? menu.querySelector("button"))?.focus({ preventScroll: true });
}

/**
 * @param {Item} item
 * @param {() => void} close
 */
function entry(item, close) {
  if (item.heading) return h("p", { class: "menu-heading", role: "presentation" }, item.label);
  const choice = item.checked !== undefined;
  return h(
    "button",
    {
      type: "button",
      role: choice ? "menuitemradio" : "menuitem",
      "aria-checked": choice ? String(item.checked) : null,
      tabindex: "-1",
      on: { click: () => (close(), item.run?.()) },
    },
    choice && h("span", { class: "menu-check" }, item.checked ? icon("check") : null),
    h("span", { class: "menu-label" }, item.label),
    item.note && h("span", { class: "menu-note" }, item.note),
  );
}

/** Keyboard use within the menu. @param {KeyboardEvent} e @param {HTMLElement} menu */
function steer(e, menu) {
  const buttons = [...menu.querySelectorAll("button")];
  const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[e.key];
  if (to !== undefined) buttons.at(to % buttons.length)?.focus();
  else if (e.key === "Tab" || e.key === "Escape") closeMenu();
  else if (e.key.length !== 1 || e.key === " ") return;
  e.preventDefault();
  e.stopPropagation();
}

/** Beside its button, within the window. @param {HTMLElement} menu @param {HTMLElement} anchor */
function place(menu, anchor) {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(Math.max(8, box.right - width), innerWidth - width - 8);
  const below = box.bottom + 6 + height < innerHeight;
  menu.style.setProperty("--left", `${left}px`);
  menu.style.setProperty("--top", `${below ? box.bottom + 6 : Math.max(8, box.top - height - 6)}px`);
}
