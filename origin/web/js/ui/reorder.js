/**
 * Moving rows of a list: by dragging the grip, with mouse or finger, or with the arrow keys on it.
 * @module
 */

/**
 * @param {HTMLElement} list whose children are rows with a `.grip`
 * @param {(from: number, to: number) => void} moved called once the row lies at its new place
 */
export function reorderable(list, moved) {
  list.addEventListener("pointerdown", (e) => {
    const grip = /** @type {HTMLElement} */ (e.target).closest(".grip");
    const row = grip?.closest("li");
    if (!grip || !row || e.button !== 0) return;
    e.preventDefault();
    drag(list, row, e, moved);
  });
  list.addEventListener("keydown", (e) => {
    const grip = /** @type {HTMLElement} */ (e.target).closest(".grip");
    const row = grip?.closest("li");
    const step = { ArrowUp: -1, ArrowDown: 1 }[e.key];
    if (!row || step === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    const from = indexOf(row);
    const to = from + step;
    if (to < 0 || to >= list.children.length) return;
    if (step > 0) list.children[to].after(row);
    else list.children[to].before(row);
    /** @type {HTMLElement} */ (grip).focus();
    moved(from, to);
  });
}

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} row
 * @param {PointerEvent} start
 * @param {(from: number, to: number) => void} moved
 */
function drag(list, row, start, moved) {
  const from = indexOf(row);
  let origin = start.clientY;
  row.classList.add("dragged");
  row.setPointerCapture(start.pointerId);
  const move = (/** @type {PointerEvent} */ e) => {
    let offset = e.clientY - origin;
    const { previousElementSibling: above, nextElementSibling: below } = row;
    if (below && offset > below.clientHeight / 2) {
      origin += below.clientHeight;
      row.before(below); // the neighbour moves, so that the row keeps the pointer
    } else if (above && -offset > above.clientHeight / 2) {
      origin -= above.clientHeight;
      row.after(above);
    }
    offset = e.clientY - origin;
    row.style.translate = `0 ${offset}px`;
    if (e.clientY < 80) scrollBy(0, -8);
    else if (e.clientY > innerHeight - 140) scrollBy(0, 8);
  };
  const end = () => {
    row.removeEventListener("pointermove", move);
    row.removeEventListener("pointerup", end);
    row.removeEventListener("pointercancel", end);
    row.classList.remove("dragged");
    row.style.translate = "";
    const to = indexOf(row);
    if (to !== from) moved(from, to);
  };
  row.addEventListener("pointermove", move);
  row.addEventListener("pointerup", end);
  row.addEventListener("pointercancel", end);
}

/** @param {Element} row */
function indexOf(row) {
  return [...(row.parentElement?.children ?? [])].indexOf(row);
}
