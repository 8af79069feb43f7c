/**
 * Making DOM nodes. Text is always text: nothing here parses HTML.
 * @module
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. `on` holds listeners, `data` data attributes, `vars` CSS custom properties;
 * `class` and everything else become attributes, booleans by presence.
 * @param {string} tag
 * @param {Record<string, any> | null} [props]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(node, name, value);
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

/**
 * @param {HTMLElement} node
 * @param {string} name
 * @param {any} value
 */
function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
  else if (name === "data") for (const [key, text] of Object.entries(value)) node.dataset[key] = String(text);
  else if (name === "vars") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, String(text));
  else node.setAttribute(name, value === true ? "" : String(value));
}

/** Filled shapes on a 24 × 24 grid, named by what they do. */
const ICONS = {
  play: "M7 4.2v15.6c0 .8.9 1.3 1.6.9l12.2-7.8c.6-.4.6-1.4 0-1.8L8.600 3.300C7.900 2.900 7 3.400 7 4.200Z",
  pause: "M7 4h3a.8.8 0 0 1 .8.8v14.400a.8.8 0 0 1-.8.8H7a.8.8 0 0 1-.8-.8V4.800A.8.8 0 0 1 7 4Zm7 0h3a.8.8 0 0 1 .8.8v14.400a.8.8 0 0 1-.8.8h-3a.8.8 0 0 1-.8-.8V4.800A.8.8 0 0 1 14 4Z",
  next: "M5 5.300v13.400c0 .7.8 1.100 1.400.700L16 13.200V18.800a.8.8 0 0 0 .8.8h1.400a.8.8 0 0 0 .8-.8V5.200a.8.8 0 0 0-.8-.8h-1.400a.8.8 0 0 0-.8.8v5.600L6.400 4.600C5.800 4.200 5 4.600 5 5.300Z",
  previous: "M19 5.300v13.400c0 .7-.8 1.100-1.400.700L8 13.200v5.600a.8.8 0 0 1-.8.8H5.800a.8.8 0 0 1-.8-.8V5.200a.8.8 0 0 1 .8-.8h1.400a.8.8 0 0 1 .8.8v5.600l9.600-6.200c.6-.4 1.400 0 1.400.700Z",
};

/** Line drawings on the same grid. */
const LINES = {
  shuffle: "M3 6.500h3.200c1.900 0 3.300 1 4.400 2.700l2.800 5.600c1.100 1.700 2.500 2.700 4.400 2.700H21M3 17.500h3.200c1.500 0 2.700-.6 3.600-1.700M14.200 8.200c.9-1.100 2.100-1.700 3.600-1.700H21M18 3.500l3 3-3 3M18 14.500l3 3-3 3",
  repeat: "M4 11V9.500A3.500 3.500 0 0 1 7.500 6H20M17 3l3 3-3 3M20 13v1.500a3.500 3.500 0 0 1-3.500 3.500H4M7 21l-3-3 3-3",
  volume: "M4 9.500v5h3.500L12 18.500v-13L7.500 9.500ZM15.500 9a4.200 4.200 0 0 1 0 6M18 6.500a7.800 7.800 0 0 1 0 11",
  muted: "M4 9.500v5h3.500L12 18.500v-13L7.500 9.500ZM16 9.500l5 5M21 9.500l-5 5",
  queue: "M4 6h16M4 11h16M4 16h9M17 14.500v5l4-2.500Z",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13ZM15.300 15.300 20.500 20.500",
  more: "M5.500 12h.01M12 12h.01M18.500 12h.01",
  close: "M6 6l12 12M18 6 6 18",
  down: "M5 9l7 7 7-7",
  grip: "M9 6h.01M9 12h.01M9 18h.01M15 6h.01M15 12h.01M15 18h.01",
  plus: "M12 5v14M5 12h14",
  check: "M5 12.500l4.500 4.500L19 7.500",
  help: "M9.200 9.200a2.900 2.900 0 1 1 4.200 2.700c-.9.500-1.400 1.100-1.400 2.100M12 17.500h.01",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M18.700 5.300l-1.400 1.400M6.700 17.300l-1.400 1.400",
  moon: "M19.500 14.300A8 8 0 0 1 9.700 4.500a8 8 0 1 0 9.800 9.800Z",
  auto: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16ZM12 4v16M12 7.500h5.200M12 11h7.500M12 14.500h7M12 17.800h4",
  albums: "M4 4h7v7H4ZM13.500 4h6.500v7h-6.500ZM4 13.500h7V20H4ZM13.500 13.500h6.500V20h-6.500Z",
  artists: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4.500 20c.7-3.600 3.600-5.500 7.500-5.500s6.800 1.900 7.500 5.500",
  playlists: "M4 6h11M4 11h11M4 16h7M17 17.500a2 2 0 1 1-4 0 2 2 0 0 1 4 0ZM17 17.500V8l3.500 1",
  edit: "M5 19l1-4L16.500 4.500l3 3L9 18ZM14.500 6.500l3 3",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l.800 12.500h8.400L17 7",
  stats: "M5 19v-6M10 19V9M15 19v-8M20 19V5",
};

/**
 * @param {keyof typeof ICONS | keyof typeof LINES} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon", name in ICONS ? "solid" : "line");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? LINES[name]);
  svg.append(path);
  return svg;
}

/**
 * A button that shows an icon alone.
 * @param {Parameters<typeof icon>[0]} name
 * @param {string} label what it does, for those who can't see it
 * @param {() => void} [click]
 * @param {Record<string, any>} [props]
 * @returns {HTMLButtonElement}
 */
export function iconButton(name, label, click, props = {}) {
  const { class: extra = "", ...rest } = props;
  const button = h("button", { type: "button", class: `icon-button ${extra}`, "aria-label": label, title: label, ...rest }, icon(name));
  if (click) button.addEventListener("click", (/** @type {Event} */ e) => (e.stopPropagation(), click()));
  return button;
}

/**
 * Changes a button's icon and label.
 * @param {HTMLElement} button
 * @param {Parameters<typeof icon>[0]} name
 * @param {string} label
 */
export function reicon(button, name, label) {
  if (button.dataset.icon === name && button.title === label) return;
  button.dataset.icon = name;
  button.replaceChildren(icon(name));
  button.setAttribute("aria-label", label);
  button.title = label;
}

/**
 * Calls `work` at most once a frame.
 * @param {() => void} work
 * @returns {() => void}
 */
export function framed(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
