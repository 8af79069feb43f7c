/**
 * Short messages at the foot of the page.
 * @module
 */

import { h } from "../dom.js";

const SHOWN_MS = 5000;
const AT_ONCE = 3;

/**
 * @param {HTMLElement} shelf
 * @returns {(message: string, action?: {label: string, run: () => void}) => void}
 */
export function toaster(shelf) {
  return (message, action) => {
    const toast = h("div", { class: "toast" }, h("span", null, message));
    const dismiss = () => toast.remove();
    if (action) {
      toast.append(h("button", { type: "button", on: { click: () => (dismiss(), action.run()) } }, action.label));
    }
    shelf.append(toast);
    while (shelf.children.length > AT_ONCE) shelf.firstElementChild?.remove();
    setTimeout(dismiss, SHOWN_MS);
  };
}
