/**
 * What the system shows and its keys do: lock screen, headphones, media keys.
 * @module
 */

/** @param {import("./engine/player.js").Player} player */
export function mediaSession(player) {
  const session = navigator.mediaSession;
  if (!session) return;
  /** @type {[MediaSessionAction, MediaSessionActionHandler][]} */
  const actions = [
    ["play", () => player.play()],
    ["pause", () => player.pause()],
    ["stop", () => player.pause()],
    ["previoustrack", () => player.previous()],
    ["nexttrack", () => player.next()],
    ["seekbackward", (d) => player.seekBy(-(d.seekOffset ?? 10))],
    ["seekforward", (d) => player.seekBy(d.seekOffset ?? 10)],
    ["seekto", (d) => player.seek(d.seekTime ?? 0)],
  ];
  for (const [action, handler] of actions) {
    try {
      session.setActionHandler(action, handler);
    } catch {
      // An action that this browser doesn't know.
    }
  }

  const describe = () => {
    const { track } = player;
    if (!track) return;
    session.metadata = new MediaMetadata({
      title: track.title,
      artist: track.artist ?? "",
      album: track.album?.title ?? "",
      artwork: track.cover ? [{ src: new URL(track.cover, location.href).href }] : [],
    });
  };
  const state = () => {
    session.playbackState = player.track ? (player.wanted ? "playing" : "paused") : "none";
    const { duration, position } = player;
    if (!(duration > 0) || !session.setPositionState) return;
    session.setPositionState({ duration, position: Math.min(position, duration), playbackRate: 1 });
  };
  player.on("track", describe);
  player.on("track", state);
  player.on("status", state);
}
