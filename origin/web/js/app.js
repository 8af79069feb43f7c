/**
 * What every page and panel is given: the player, the settings, and a few things they do in common.
 * @module
 */

import * as api from "./api.js";

/**
 * @typedef {object} App
 * @property {import("./engine/player.js").Player} player
 * @property {import("./settings.js").Settings} settings
 * @property {(message: string, action?: {label: string, run: () => void}) => void} toast
 */

/** @typedef {{title: string, node: HTMLElement, place?: string, dispose?: () => void}} Page */

/**
 * Runs something that talks to the server; says so where it fails.
 * @template T
 * @param {App} app
 * @param {() => Promise<T>} work
 * @returns {Promise<T | null>}
 */
export async function attempt(app, work) {
  try {
    return await work();
  } catch (error) {
    app.toast(error instanceof api.ApiError ? error.message : "That didn’t work.");
    if (!(error instanceof api.ApiError)) console.warn(error);
    return null;
  }
}
