/**
 * ISO base media file format boxes (ISO/IEC 14496-12 §4.2): finds them, does not interpret them.
 * @module
 */

/** @typedef {{type: string, start: number, body: number, end: number}} Box offsets in bytes */

/** Thrown when bytes are not the boxes that were promised. */
export class BoxError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "BoxError";
  }
}

/** Most boxes looked at on one level: bounds the work that hostile bytes can cause. */
const MAX_BOXES = 4096;

/**
 * Lists the boxes in `view[start, end)`. A box that runs past `end` ends the list: the rest of it
 * has not arrived.
 * @param {DataView} view
 * @param {number} [start] first byte, inclusive
 * @param {number} [end] last byte, exclusive
 * @returns {Box[]}
 */
export function boxes(view, start = 0, end = view.byteLength) {
  const found = [];
  let at = start;
  while (at + 8 <= end && found.length < MAX_BOXES) {
    let size = view.getUint32(at);
    let header = 8;
    if (size === 1) {
      if (at + 16 > end) break;
      size = Number(view.getBigUint64(at + 8));
      header = 16;
    } else if (size === 0) {
      size = end - at;
    }
    if (size < header) throw new BoxError(`box of ${size} bytes at ${at}`);
    if (at + size > end) break;
    found.push({ type: fourcc(view, at + 4), start: at, body: at + header, end: at + size });
    at += size;
  }
  return found;
}

/**
 * Follows a path of box types from the top level.
 * @param {DataView} view
 * @param {string[]} path for instance `["moov", "trak", "mdia", "mdhd"]`
 * @returns {Box | null} the first such box
 */
export function find(view, path) {
  let start = 0;
  let end = view.byteLength;
  let box = null;
  for (const type of path) {
    box = boxes(view, start, end).find((b) => b.type === type) ?? null;
    if (!box) return null;
    start = box.body;
    end = box.end;
  }
  return box;
}

/**
 * @param {DataView} view
 * @param {number} at
 * @returns {string} four characters
 */
export function fourcc(view, at) {
  return String.fromCharCode(
    view.getUint8(at),
    view.getUint8(at + 1),
    view.getUint8(at + 2),
    view.getUint8(at + 3),
  );
}

/**
 * A view of bytes wherever they lie in their buffer.
 * @param {ArrayBuffer | Uint8Array} bytes
 * @returns {DataView}
 */
export function viewOf(bytes) {
  return bytes instanceof Uint8Array
    ? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new DataView(bytes);
}
