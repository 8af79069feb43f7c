//! The order in which renditions are offered, and which stands in where a rung is missing.

use std::collections::HashSet;

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

/// The rungs that tracks in a row offer together, as a multivariant playlist lists them: by family,
/// within one the rung to start on first, then by rate. A rung is any track's rendition of that id;
/// those without it play what is nearest.
pub(crate) fn offered<'a>(tracks: &[&'a Track]) -> Vec<&'a Rendition> {
    let mut seen = HashSet::new();
    let all: Vec<&Rendition> = tracks
        .iter()
        .flat_map(|t| &t.renditions)
        .filter(|r| seen.insert(r.id.as_str()))
        .collect();
    Family::ALL
        .into_iter()
        .flat_map(|family| in_order(&all, family))
        .collect()
}

fn in_order<'a>(all: &[&'a Rendition], family: Family) -> Vec<&'a Rendition> {
    let mut rungs: Vec<&Rendition> = all
        .iter()
        .copied()
        .filter(|r| r.codec.family() == family)
        .collect();
    rungs.sort_by_key(|r| r.average);
    let start = (0..rungs.len()).min_by_key(|&i| rungs[i].average.0.abs_diff(START_BPS));
    if let Some(start) = start {
        rungs[..=start].rotate_right(1);
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
