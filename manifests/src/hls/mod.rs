//! HTTP Live Streaming: multivariant and media playlists (RFC 8216 and its successor draft).
//!
//! Each rung is a variant of its own, with the one codec it uses, which every player can filter and
//! switch on; and it has an audio group of its own, which tells the number of channels and whose one
//! member is the variant's playlist again. A group holds one codec, then, and a codec with several bit
//! rates has several groups. The other forms that the RFC allows don't play everywhere:
//!
//! - One group for all variants of a codec, whose member has a `URI`, leaves the codec one bit rate:
//!   Shaka takes the member for the sound, as the RFC has it, whichever variant it chose.
//! - A member without a `URI` (its sound is in the variant's own playlist, RFC 8216bis §4.4.6.1) ends
//!   Chromium 148's own HLS player: the tab crashes, with one variant as with eight. Where variants share
//!   such a group, Shaka 5.2.12 replaces one placeholder stream in `createStreamInfosForVariantTags_`
//!   and keeps one for each variant before.
//!
//! hls.js, Shaka, Chromium, VLC and ffmpeg 9 see that member and variant have one URI, and load it
//! once. ffmpeg 5.1 lists each stream twice, and plays as before.
//!
//! Segments begin where their `tfdt` says, priming included: players find a segment's place by
//! subtracting the playlist's time from its `tfdt` (Shaka for each segment, hls.js for the first),
//! and the edit list then removes the priming. Were it taken off the first `EXTINF`, Shaka would cut
//! it off every segment but the first. It is taken off the last one instead: all playlists of a track
//! are as long as its sound, whatever the codec's priming, so that a player that has switched finds
//! the end where it expects it, and the next track of a playlist starts without a gap.

mod media;
mod multivariant;
mod steering;

pub use media::media;
pub use multivariant::{multivariant, steered};
pub use steering::{Pathway, Steering};

use crate::{Rendition, Track};

/// `EXT-X-VERSION`: 6 is the lowest that has `EXT-X-MAP` for sound (RFC 8216 §7).
const VERSION: u32 = 6;

/// One track of a media playlist, in the rendition to play it in.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The track.
    pub track: &'a Track,
    /// One of its renditions.
    pub rendition: &'a Rendition,
}

/// What each of several tracks in a row plays for the rung `id`, which one of them has; `None`
/// where none has it, or one has nothing of its family.
pub fn items<'a>(tracks: &[&'a Track], id: &str) -> Option<Vec<Item<'a>>> {
    let rung = tracks.iter().find_map(|t| t.rendition(id))?;
    let item = |track: &&'a Track| {
        let rendition = track.nearest(id, rung.codec.family(), rung.average.0)?;
        Some(Item { track, rendition })
    };
    tracks.iter().map(item).collect()
}
