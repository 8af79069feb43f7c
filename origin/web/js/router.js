/**
 * Addresses of pages: the part behind `#`, so that a deep link works wherever the player is
 * served from.
 * @module
 */

/** @typedef {{parts: string[], query: URLSearchParams, key: string}} Route */

/** @returns {Route} */
export function current() {
  const hash = location.hash.replace(/^#\/?/, "");
  const [path, query = ""] = hash.split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(query), key: hash };
}

/** @param {...string} parts @returns {string} the address of a page */
export function href(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/**
 * @param {string} address
 * @param {{replace?: boolean}} [options] whether to leave no trace in the history
 */
export function go(address, { replace = false } = {}) {
  if (location.hash === address) return;
  if (replace) {
    history.replaceState(history.state, "", address);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = address;
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
