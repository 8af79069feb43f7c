/**
 * Questions and panels above the page, on the browser's own dialog element.
 * @module
 */

import { h, iconButton } from "../dom.js";

/**
 * @param {string} title
 * @param {Node[]} content
 * @param {string} [kind] a class
 * @returns {HTMLDialogElement} open; removes itself when closed
 */
export function openDialog(title, content, kind = "") {
  const dialog = h(
    "dialog",
    { class: `dialog ${kind}`, "aria-label": title },
    h("header", { class: "dialog-head" }, h("h2", null, title), iconButton("close", "Close", () => dialog.close())),
    ...content,
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (/** @type {MouseEvent} */ e) => e.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks for one line of text.
 * @param {{title: string, label: string, value?: string, confirm: string}} question
 * @returns {Promise<string | null>} null when dismissed or empty
 */
export function askText({ title, label, value = "", confirm }) {
  return new Promise((resolve) => {
    const input = h("input", { type: "text", value, maxlength: "200", required: true, "aria-label": label });
    const form = h(
      "form",
      { method: "dialog", class: "ask" },
      input,
      h("div", { class: "ask-actions" }, h("button", { type: "submit", class: "solid-button" }, confirm)),
    );
    let answer = /** @type {string | null} */ (null);
    form.addEventListener("submit", () => (answer = input.value.trim() || null));
    const dialog = openDialog(title, [form], "narrow");
    dialog.addEventListener("close", () => resolve(answer));
    input.select();
  });
}

/**
 * @param {{title: string, text: string, confirm: string}} question
 * @returns {Promise<boolean>}
 */
export function askSure({ title, text, confirm }) {
  return new Promise((resolve) => {
    let sure = false;
    const dialog = openDialog(
      title,
      [
        h("p", null, text),
        h(
          "div",
          { class: "ask-actions" },
          h("button", { type: "button", class: "ghost-button", on: { click: () => dialog.close() } }, "Keep it"),
          h("button", { type: "button", class: "solid-button", on: { click: () => ((sure = true), dialog.close()) } }, confirm),
        ),
      ],
      "narrow",
    );
    dialog.addEventListener("close", () => resolve(sure));
  });
}
