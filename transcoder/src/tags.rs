//! Descriptive tags and cover art of a source file.
//!
//! Tags are a courtesy: nothing here can make a file fail. Formats that allow several tags in one
//! file are read from all of them, the format's own tag first.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lofty::config::{ParseOptions, ParsingMode};
use lofty::file::{TaggedFile, TaggedFileExt};
use lofty::picture::{Picture, PictureType};
use lofty::probe::Probe;
use lofty::tag::{ItemKey, Tag};
use manifests::Tags;

/// Largest cover that is taken over, in bytes.
pub const MAX_COVER_BYTES: u64 = 10 * 1024 * 1024;
/// Longest text that is taken over, in characters.
const MAX_TEXT_CHARS: usize = 1024;
/// Names of cover files beside the sound, best first, in lower case.
const COVER_FILES: [&str; 9] = [
    "cover.jpg",
    "cover.png",
    "cover.jpeg",
    "folder.jpg",
    "folder.png",
    "folder.jpeg",
    "front.jpg",
    "front.png",
    "cover.webp",
];

/// Cover art as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverArt {
    /// Media type by the bytes themselves: `image/jpeg`, `image/png`, `image/webp`, `image/gif`.
    pub mime: &'static str,
    /// The image file.
    pub bytes: Vec<u8>,
}

impl CoverArt {
    /// The image, if it is one of a known kind and not too large.
    pub fn sniff(bytes: Vec<u8>) -> Option<CoverArt> {
        let mime = match bytes.as_slice() {
            b if b.starts_with(b"\xff\xd8\xff") => "image/jpeg",
            b if b.starts_with(b"\x89PNG\r\n\x1a\n") => "image/png",
            b if b.starts_with(b"RIFF") && b.get(8..12) == Some(b"WEBP") => "image/webp",
            b if b.starts_with(b"GIF87a") || b.starts_with(b"GIF89a") => "image/gif",
            _ => return None,
        };
        (bytes.len() as u64 <= MAX_COVER_BYTES).then_some(CoverArt { mime, bytes })
    }

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

/// Reads tags and cover. Never fails: a file without (readable) tags has its stem as a title, and
/// a file without a cover takes `cover.jpg`, `folder.png` and the like from beside it.
pub fn read(path: &Path) -> (Tags, Option<CoverArt>) {
    let (tags, cover) = File::open(path).map(embedded).unwrap_or_default();
    complete(path, tags, cover)
}

/// What the file itself has to say. The title may be empty.
pub(crate) fn embedded(file: File) -> (Tags, Option<CoverArt>) {
    let file = catch_unwind(AssertUnwindSafe(|| parse(file)))
        .ok()
        .flatten();
    let tags: Vec<&Tag> = file.as_ref().map(in_order).unwrap_or_default();
    (texts(&tags), embedded_cover(&tags))
}

/// Adds what the file's name and folder say where the file itself is silent.
pub(crate) fn complete(
    path: &Path,
    mut tags: Tags,
    cover: Option<CoverArt>,
) -> (Tags, Option<CoverArt>) {
    if tags.title.is_empty() {
        let stem = path.file_stem();
        tags.title = stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    }
    (tags, cover.or_else(|| cover_beside(path)))
}

fn parse(mut file: File) -> Option<TaggedFile> {
    let options = ParseOptions::new()
        .read_properties(false)
        .parsing_mode(ParsingMode::Relaxed);
    file.rewind().ok()?;
    Probe::new(BufReader::new(file))
        .options(options)
        .guess_file_type()
        .ok()?
        .read()
        .ok()
}

/// The file's tags, the format's own first.
fn in_order(file: &TaggedFile) -> Vec<&Tag> {
    let own = file.primary_tag_type();
    let (mut first, rest): (Vec<&Tag>, Vec<&Tag>) =
        file.tags().iter().partition(|tag| tag.tag_type() == own);
    first.extend(rest);
    first
}

fn texts(tags: &[&Tag]) -> Tags {
    let text = |key: ItemKey| {
        tags.iter()
            .find_map(|tag| tag.get_string(key).and_then(clean))
    };
    let number = |key: ItemKey| text(key).and_then(|text| leading_number(&text));
    // "3/12" where the format has no field of its own for the total.
    let total = || {
        text(ItemKey::TrackNumber)?
            .split_once('/')
            .and_then(|(_, n)| leading_number(n))
    };
    let artist = text(ItemKey::TrackArtist);
    let date = [ItemKey::RecordingDate, ItemKey::ReleaseDate, ItemKey::Year];
    Tags {
        title: text(ItemKey::TrackTitle).unwrap_or_default(),
        album: text(ItemKey::AlbumTitle),
        album_artist: text(ItemKey::AlbumArtist).filter(|name| Some(name) != artist.as_ref()),
        artist,
        track_number: number(ItemKey::TrackNumber),
        track_total: number(ItemKey::TrackTotal).or_else(total),
        disc_number: number(ItemKey::DiscNumber),
        date: date
            .into_iter()
            .find_map(|key| text(key).and_then(|text| iso_date(&text))),
        genre: text(ItemKey::Genre),
        isrc: text(ItemKey::Isrc).filter(|isrc| isrc.len() <= 32),
        composer: text(ItemKey::Composer),
        compilation: text(ItemKey::FlagCompilation).is_some_and(|flag| flag == "1"),
    }
}

/// Text without control characters and outer blanks, cut at [`MAX_TEXT_CHARS`]; `None` if empty.
fn clean(text: &str) -> Option<String> {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = visible.take(MAX_TEXT_CHARS).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..digits].parse().ok().filter(|n| *n > 0)
}

/// The date's leading `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
fn iso_date(text: &str) -> Option<String> {
    let fits = |len: usize, text: &str| {
        text.len() >= len
            && text.bytes().take(len).enumerate().all(|(n, b)| match n {
                4 | 7 => b == b'-',
                _ => b.is_ascii_digit(),
            })
    };
    [10, 7, 4]
        .into_iter()
        .find(|len| fits(*len, text))
        .map(|len| text[..len].to_owned())
}

/// The front cover, or else the first picture.
fn embedded_cover(tags: &[&Tag]) -> Option<CoverArt> {
    let pictures = || tags.iter().flat_map(|tag| tag.pictures());
    let front = pictures().filter(|p| p.pic_type() == PictureType::CoverFront);
    let usable = |picture: &Picture| CoverArt::sniff(picture.data().to_vec());
    front.chain(pictures()).find_map(usable)
}

/// A picture in the folder of the file, whatever the case of its name.
fn cover_beside(path: &Path) -> Option<CoverArt> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let rank = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        COVER_FILES.iter().position(|cover| *cover == name)
    };
    let entries = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let mut covers: Vec<(usize, PathBuf)> = entries
        .filter_map(|path| Some((rank(&path)?, path)))
        .collect();
    covers.sort();
    covers.into_iter().find_map(|(_, path)| {
        let mut bytes = Vec::new();
        let limit = MAX_COVER_BYTES + 1;
        File::open(path)
            .ok()?
            .take(limit)
            .read_to_end(&mut bytes)
            .ok()?;
        CoverArt::sniff(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_numbers_are_taken_as_far_as_they_go() {
        assert_eq!(iso_date("1999").as_deref(), Some("1999"));
        assert_eq!(iso_date("1999-12-31T23:00").as_deref(), Some("1999-12-31"));
        assert_eq!(iso_date("1999-12").as_deref(), Some("1999-12"));
        assert_eq!(iso_date("31.12.1999"), None);
        assert_eq!(leading_number("3/12"), Some(3));
        assert_eq!(leading_number("0"), None);
        assert_eq!(leading_number("A1"), None);
        assert_eq!(clean(" a\u{0}b\n").as_deref(), Some("a b"));
    }

    #[test]
    fn covers_are_known_by_their_bytes_and_bounded() {
        let png = [&b"\x89PNG\r\n\x1a\n"[..], &[0; 8]].concat();
        assert_eq!(
            CoverArt::sniff(png.clone()).map(|c| c.extension()),
            Some("png")
        );
        assert_eq!(CoverArt::sniff(b"<html>".to_vec()), None);
        let huge = [png, vec![0; MAX_COVER_BYTES as usize]].concat();
        assert_eq!(CoverArt::sniff(huge), None);
    }
}
