//! Where a manifest's URLs point: relative, so that a token in the path prefix is inherited.

use std::str::FromStr;

use crate::{Rendition, Track};

/// How segments are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Addressing {
    /// Byte ranges of the rendition's one file.
    #[default]
    Ranges,
    /// A URL a segment: `{rendition}/init.mp4`, `{rendition}/{n}.m4s`.
    Segments,
}

/// Text that names no [`Addressing`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an addressing; use `ranges` or `segments`")]
pub struct BadAddressing(pub String);

impl FromStr for Addressing {
    type Err = BadAddressing;

    fn from_str(text: &str) -> Result<Self, BadAddressing> {
        match text {
            "ranges" => Ok(Self::Ranges),
            "segments" => Ok(Self::Segments),
            other => Err(BadAddressing(other.to_owned())),
        }
    }
}

/// URLs seen from a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// Path from the manifest's directory to the one that holds `{track}/{revision}/`, ending in
    /// `/`.
    pub media_base: &'a str,
    /// How segments are named.
    pub addressing: Addressing,
}

impl Layout<'_> {
    /// For manifests at `/v1/{kind}/{id}/{name}` and media below `/media/`.
    pub fn v1(addressing: Addressing) -> Self {
        Self {
            media_base: "../../../media/",
            addressing,
        }
    }

    /// The rendition's packed file.
    pub(crate) fn packed(&self, track: &Track, rendition: &Rendition) -> String {
        format!("{}.mp4", self.stem(track, &rendition.id))
    }

    /// The rendition's `init.mp4`.
    pub(crate) fn init(&self, track: &Track, rendition: &Rendition) -> String {
        format!("{}/init.mp4", self.stem(track, &rendition.id))
    }

    /// Segment `number`, from 1.
    pub(crate) fn segment(&self, track: &Track, rendition: &Rendition, number: u32) -> String {
        format!("{}/{number}.m4s", self.stem(track, &rendition.id))
    }

    /// The directory of a rendition's segment view, or its file without the suffix.
    pub(crate) fn stem(&self, track: &Track, rendition: &str) -> String {
        format!(
            "{}{}/{}/{rendition}",
            self.media_base, track.id, track.revision
        )
    }

    /// The rendition's media playlist, beside the multivariant one.
    pub(crate) fn media_playlist(&self, rendition: &str) -> String {
        match self.addressing {
            Addressing::Ranges => format!("{rendition}.m3u8"),
            Addressing::Segments => format!("{rendition}.m3u8?addressing=segments"),
        }
    }
}
