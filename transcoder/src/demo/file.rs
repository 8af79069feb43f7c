//! A recording as a tagged FLAC file.

use std::fs;
use std::io;
use std::path::Path;

use lofty::config::WriteOptions;
use lofty::picture::{MimeType, Picture, PictureType};
use lofty::tag::{ItemKey, Tag, TagExt, TagType};

use super::score::Dice;
use super::sound::Stereo;
use super::{Album, Track};
use crate::Error;
use crate::encode::Packets;
use crate::encode::flac::{Flac, Settings};

/// Frames handed to the encoder at a time.
const PIECE: usize = 65_536;
const BLOCK: u32 = 4_096;

/// Writes a file under another name and renames it when it is whole.
pub(super) fn write(
    path: &Path,
    sound: &Stereo,
    depth: u32,
    album: &Album,
    track: &Track,
    cover: &[u8],
) -> io::Result<()> {
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, encode(sound, depth).map_err(io::Error::other)?)?;
    tag(album, track, cover)
        .save_to_path(&unfinished, WriteOptions::default())
        .map_err(|e| io::Error::other(e.to_string()))?;
    fs::rename(&unfinished, path)
}

/// The sound as a FLAC file in memory, STREAMINFO filled in at the end.
fn encode(sound: &Stereo, depth: u32) -> Result<Vec<u8>, Error> {
    let settings = Settings {
        level: 5,
        rate: sound.rate as u32,
        bit_depth: depth as u8,
        block: BLOCK,
    };
    let mut flac = Flac::new(settings, 2)?;
    // RFC 9639 section 8: the marker, then STREAMINFO as the last metadata block, 34 bytes.
    let mut file = Whole(b"fLaC\x80\x00\x00\x22".to_vec());
    file.0.resize(8 + 34, 0);
    let mut dice = Dice::new(depth.into());
    for from in (0..sound.frames()).step_by(PIECE) {
        let to = sound.frames().min(from + PIECE);
        let frames = sound.left[from..to].iter().zip(&sound.right[from..to]);
        let pcm: Vec<i32> = frames
            .flat_map(|(l, r)| [*l, *r])
            .map(|s| quantise(s, depth, &mut dice))
            .collect();
        flac.push(&pcm, &mut file)?;
    }
    let (_, info) = flac.finish(&mut file)?;
    file.0[8..8 + 34].copy_from_slice(&info);
    Ok(file.0)
}

/// Rounds with triangular dither.
fn quantise(sample: f32, depth: u32, dice: &mut Dice) -> i32 {
    let full = (1u32 << (depth - 1)) as f32;
    let dither = 0.5 * (dice.roll() + dice.roll());
    (sample * full + dither).round().clamp(-full, full - 1.0) as i32
}

fn tag(album: &Album, track: &Track, cover: &[u8]) -> Tag {
    let mut tag = Tag::new(TagType::VorbisComments);
    for (key, text) in [
        (ItemKey::TrackTitle, track.title),
        (ItemKey::TrackArtist, album.artist),
        (ItemKey::AlbumTitle, album.title),
        (ItemKey::AlbumArtist, album.artist),
        (ItemKey::Genre, album.genre),
        (ItemKey::RecordingDate, album.date),
        (ItemKey::Comment, "Synthesised by Segue. CC0 1.0."),
    ] {
        tag.insert_text(key, text.to_owned());
    }
    tag.insert_text(ItemKey::TrackNumber, track.number.to_string());
    tag.insert_text(ItemKey::TrackTotal, album.tracks.len().to_string());
    tag.push_picture(
        Picture::unchecked(cover.to_vec())
            .pic_type(PictureType::CoverFront)
            .mime_type(MimeType::Png)
            .build(),
    );
    tag
}

/// Collects packets behind each other.
struct Whole(Vec<u8>);

impl Packets for Whole {
    fn packet(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(packet);
        Ok(())
    }
}
