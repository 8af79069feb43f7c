//! The order in which renditions are offered, and which stands in where a rung is missing.

use crate::{Codec, Rendition, Track};

/// Codecs among which a player can switch within one track of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// AAC-LC and HE-AAC.
    Aac,
    /// Opus.
    Opus,
    /// FLAC.
    Flac,
}

impl Family {
    /// All, in the order that multivariant playlists list them: AAC first, since Apple's players
    /// start on the first variant and all of them play it.
    pub const ALL: [Family; 3] = [Family::Aac, Family::Opus, Family::Flac];
}

impl Codec {
    /// The family it belongs to.
    pub fn family(self) -> Family {
        match self {
            Codec::AacLc | Codec::HeAac => Family::Aac,
            Codec::Opus => Family::Opus,
            Codec::Flac => Family::Flac,
        }
    }
}

/// The rate to start on, which nearly every connection sustains, in bit/s.
const START_BPS: u32 = 128_000;

/// Renditions of one family as a multivariant playlist lists them: the one to start on first, then
/// by rate.
pub(crate) fn offered(track: &Track, family: Family) -> Vec<&Rendition> {
    let mut rungs: Vec<&Rendition> = track
        .renditions
        .iter()
        .filter(|r| r.codec.family() == family)
        .collect();
    rungs.sort_by_key(|r| r.average);
    let start = (0..rungs.len()).min_by_key(|&i| rungs[i].average.0.abs_diff(START_BPS));
    if let Some(start) = start {
        let first = rungs.remove(start);
        rungs.insert(0, first);
    }
    rungs
}

impl Track {
    /// The rendition of that id, or, where this track does without that rung, the best of the same
    /// family that is no heavier than `bps`, else the lightest of the family.
    pub fn nearest(&self, id: &str, family: Family, bps: u32) -> Option<&Rendition> {
        self.rendition(id).or_else(|| {
            let rungs = || {
                self.renditions
                    .iter()
                    .filter(|r| r.codec.family() == family)
            };
            rungs()
                .filter(|r| r.average.0 <= bps)
                .max_by_key(|r| r.average)
                .or_else(|| rungs().min_by_key(|r| r.average))
        })
    }
}
