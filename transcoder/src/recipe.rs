//! The ladder: every rung and every encoder setting, in one place.
//!
//! The recipe's digest is part of a track's revision, so a change here makes new objects beside
//! the old ones. Does not decide which rungs a track gets: `ladder` does.

use manifests::{Codec, Omitted};
use sha2::{Digest, Sha256};

use crate::{
    content::{Content, MONO_CAP},
    encode::{aac, opus},
};

/// Raised whenever the packaging or an encoder changes what comes out of the same settings.
pub const VERSION: u32 = 2;

/// How one rung is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Settings {
    /// Opus at 48 kHz.
    Opus(opus::Settings),
    /// AAC at 48 kHz.
    Aac(aac::Settings),
    /// FLAC at the source's rate and depth.
    Flac {
        /// libFLAC's preset, 0–8.
        level: u8,
    },
}

/// One rung of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rung {
    /// Rendition id, `opus-96`.
    pub id: String,
    /// Encoder settings.
    pub settings: Settings,
}

impl Rung {
    /// The codec.
    pub fn codec(&self) -> Codec {
        match self.settings {
            Settings::Opus(_) => Codec::Opus,
            Settings::Aac(aac::Settings {
                profile: aac::Profile::Lc,
                ..
            }) => Codec::AacLc,
            Settings::Aac(aac::Settings {
                profile: aac::Profile::He,
                ..
            }) => Codec::HeAac,
            Settings::Flac { .. } => Codec::Flac,
        }
    }

    /// Target bit rate in bit/s, `None` for a lossless rung.
    pub fn bitrate(&self) -> Option<u32> {
        match self.settings {
            Settings::Opus(settings) => Some(settings.bitrate),
            Settings::Aac(settings) => Some(settings.bitrate),
            Settings::Flac { .. } => None,
        }
    }
}

/// A versioned ladder, in the order in which `track.json` lists renditions.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recipe {
    /// Name, part of the revision.
    pub name: String,
    /// Opus ascending, AAC ascending, FLAC.
    pub rungs: Vec<Rung>,
}

impl Default for Recipe {
    /// The standard ladder.
    fn default() -> Self {
        let opus = |kbps: u32| Rung {
            id: format!("opus-{kbps}"),
            settings: Settings::Opus(opus::Settings {
                bitrate: kbps * 1000,
                complexity: 10,
                constrained: true,
                music: true,
            }),
        };
        let aac = |kbps: u32, profile| Rung {
            id: format!("aac-{kbps}"),
            settings: Settings::Aac(aac::Settings {
                profile,
                bitrate: kbps * 1000,
                // FDK stops at 17 kHz however many bits there are. 256 kbit/s are enough for what
                // is above it, and ViSQOL hears the difference; 128 are not.
                bandwidth: (kbps >= 256).then_some(20_000),
                // It takes half of the rung's time at 128 kbit/s and a third in HE-AAC, and ViSQOL's
                // mean over real music moves by 0.01 either way (`bench/run perceptual`). At 256 a
                // single seam between tracks may be twice as far off without it.
                thorough: kbps == 256,
            }),
        };
        // 2.5 % smaller than level 5 for 1 % more CPU of the whole ladder; level 8 adds as much
        // again for 0.1 %.
        let flac = Rung {
            id: "flac".into(),
            settings: Settings::Flac { level: 7 },
        };
        Self {
            name: "standard".into(),
            rungs: vec![
                opus(32),
                opus(64),
                opus(96),
                opus(160),
                aac(64, aac::Profile::He),
                aac(128, aac::Profile::Lc),
                aac(256, aac::Profile::Lc),
                flac,
            ],
        }
    }
}

impl Recipe {
    /// SHA-256 over name, version and settings; equal digests promise equal output.
    pub fn digest(&self) -> [u8; 32] {
        let aac = cfg!(feature = "fdk-aac");
        let text = format!("{} v{VERSION} aac={aac} {:?}", self.name, self.rungs);
        Sha256::digest(text).into()
    }
}

/// What a source can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Samples per second.
    pub rate: u32,
    /// Channels after any downmix, 1 or 2.
    pub channels: usize,
    /// Bit rate in bit/s, where the source is lossy.
    pub lossy_bitrate: Option<u32>,
}

/// The rungs that a track gets, and those it does without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be encoded, in the recipe's order.
    pub rungs: Vec<Rung>,
    /// Left out, in the recipe's order.
    pub omitted: Vec<Omitted>,
}

impl Recipe {
    /// Leaves out what the source can't fill, but never the lowest Opus and the lowest AAC rung.
    pub fn plan(&self, capacity: Capacity) -> Plan {
        let mut plan = Plan::default();
        for (n, rung) in self.rungs.iter().enumerate() {
            let lowest = !self.rungs[..n].iter().any(|r| same_family(r, rung));
            match unfit(rung, capacity, lowest) {
                Some(reason) => plan.omitted.push(Omitted {
                    id: rung.id.clone(),
                    reason,
                }),
                None => plan.rungs.push(rung.clone()),
            }
        }
        plan
    }
}

impl Plan {
    /// Takes out the rungs that add nothing to what was heard, but never the lowest of a family.
    /// `recipe` gives the order of what is left out.
    pub fn review(&mut self, content: &Content, recipe: &Recipe) {
        let rungs = std::mem::take(&mut self.rungs);
        for rung in rungs {
            let lowest = !self.rungs.iter().any(|r| same_family(r, &rung));
            match content.surplus(&rung).filter(|_| !lowest) {
                Some(reason) => self.omitted.push(Omitted {
                    id: rung.id,
                    reason,
                }),
                None => self.rungs.push(rung),
            }
        }
        let place = |o: &Omitted| recipe.rungs.iter().position(|r| r.id == o.id);
        self.omitted.sort_by_key(place);
    }
}

fn same_family(a: &Rung, b: &Rung) -> bool {
    std::mem::discriminant(&a.settings) == std::mem::discriminant(&b.settings)
}

/// A lossy source may be somewhat below a rung's nominal rate (a "256" that measures 245) and
/// still fill it.
const LOSSY_SLACK_PERCENT: u64 = 110;

/// Why the source can't fill the rung.
fn unfit(rung: &Rung, capacity: Capacity, lowest: bool) -> Option<String> {
    if matches!(rung.settings, Settings::Aac(_)) && !cfg!(feature = "fdk-aac") {
        return Some("this build has no AAC encoder".into());
    }
    let Some(bitrate) = rung.bitrate() else {
        return capacity
            .lossy_bitrate
            .map(|_| "the source is lossy already".into());
    };
    if lowest {
        return None;
    }
    if let Some(source) = capacity.lossy_bitrate
        && u64::from(bitrate) * 100 > u64::from(source) * LOSSY_SLACK_PERCENT
    {
        return Some(format!(
            "the source has only {} kbit/s",
            source.div_ceil(1000)
        ));
    }
    if bitrate > bandwidth_cap(capacity.rate) {
        return Some(format!(
            "the source has only {} Hz sample rate",
            capacity.rate
        ));
    }
    if capacity.channels == 1 && bitrate > MONO_CAP {
        return Some("the source is mono, which a lower rung carries as well".into());
    }
    None
}

/// The bit rate in bit/s beyond which a source of that sample rate has nothing left to code.
pub(crate) fn bandwidth_cap(rate: u32) -> u32 {
    match rate {
        0..=12_000 => 32_000,
        12_001..=16_000 => 64_000,
        16_001..=24_000 => 96_000,
        24_001..=32_000 => 128_000,
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rate: u32, channels: usize, lossy_bitrate: Option<u32>, expected: &[&str]) {
        let plan = Recipe::default().plan(Capacity {
            rate,
            channels,
            lossy_bitrate,
        });
        let ids: Vec<_> = plan.rungs.iter().map(|r| r.id.as_str()).collect();
        let expected: Vec<_> = expected
            .iter()
            .copied()
            .filter(|id| cfg!(feature = "fdk-aac") || !id.starts_with("aac"))
            .collect();
        assert_eq!(ids, expected);
        assert_eq!(
            plan.rungs.len() + plan.omitted.len(),
            Recipe::default().rungs.len()
        );
    }

    #[test]
    fn rungs_follow_the_source() {
        let all = [
            "opus-32", "opus-64", "opus-96", "opus-160", "aac-64", "aac-128", "aac-256", "flac",
        ];
        check(44_100, 2, None, &all);
        check(
            48_000,
            1,
            None,
            &["opus-32", "opus-64", "opus-96", "aac-64", "aac-128", "flac"],
        );
        check(44_100, 2, Some(245_000), &all[..7]);
        check(
            44_100,
            2,
            Some(128_000),
            &["opus-32", "opus-64", "opus-96", "aac-64", "aac-128"],
        );
        check(44_100, 2, Some(24_000), &["opus-32", "aac-64"]);
        check(8_000, 1, None, &["opus-32", "aac-64", "flac"]);
    }

    #[test]
    fn what_was_heard_narrows_the_ladder_but_leaves_the_lowest_rungs() {
        let recipe = Recipe::default();
        let mut plan = recipe.plan(Capacity {
            rate: 48_000,
            channels: 2,
            lossy_bitrate: Some(200_000),
        });
        plan.review(&Content::default(), &recipe);
        let ids: Vec<_> = plan.rungs.iter().map(|r| r.id.as_str()).collect();
        let aac = cfg!(feature = "fdk-aac").then_some("aac-64");
        assert_eq!(ids, ["opus-32"].into_iter().chain(aac).collect::<Vec<_>>());
        let omitted: Vec<_> = plan.omitted.iter().map(|o| o.id.as_str()).collect();
        let expected = recipe.rungs.iter().map(|r| r.id.as_str());
        let expected = expected.filter(|id| !ids.contains(id));
        assert_eq!(omitted, expected.collect::<Vec<_>>());
        let silent = plan.omitted.iter().filter(|o| o.reason.contains("silent"));
        assert!(silent.count() > 1);
    }

    #[test]
    fn digest_follows_settings() {
        let mut recipe = Recipe::default();
        let before = recipe.digest();
        assert_eq!(before, Recipe::default().digest());
        recipe.rungs.pop();
        assert_ne!(before, recipe.digest());
    }
}
