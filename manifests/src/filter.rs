//! The `codecs` parameter: which codecs a manifest offers.

use std::str::FromStr;

use crate::{Codec, Rendition};

/// A set of codecs; all of them unless narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodecFilter(u8);

/// Text that names no codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a codec; use a comma-separated list of opus, aac, aac-lc, he-aac, flac")]
pub struct BadCodec(pub String);

impl Default for CodecFilter {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

impl CodecFilter {
    /// Whether the rendition's codec is in the set.
    pub fn admits(self, rendition: &Rendition) -> bool {
        self.0 & bit(rendition.codec) != 0
    }
}

fn bit(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 1,
        Codec::AacLc => 2,
        Codec::HeAac => 4,
        Codec::Flac => 8,
    }
}

impl FromStr for CodecFilter {
    type Err = BadCodec;

    /// Reads `opus,aac`; empty text admits all codecs.
    fn from_str(text: &str) -> Result<Self, BadCodec> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut set = 0;
        for name in text.split(',') {
            set |= match name.trim().to_ascii_lowercase().as_str() {
                "opus" => bit(Codec::Opus),
                "aac" => bit(Codec::AacLc) | bit(Codec::HeAac),
                "aac-lc" | "mp4a.40.2" => bit(Codec::AacLc),
                "he-aac" | "mp4a.40.5" => bit(Codec::HeAac),
                "flac" => bit(Codec::Flac),
                _ => return Err(BadCodec(name.chars().take(32).collect())),
            };
        }
        Ok(Self(set))
    }
}
