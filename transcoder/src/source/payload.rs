//! The digest of a file's sound as it is coded, without tags and pictures: equal for two files of
//! which one is the other with other tags, also where a program has laid the container out anew.
//!
//! Owns what counts as sound: the codec and its parameters, what is trimmed, and the packets. The
//! digest names tracks, so what is put into it never changes. Does not own how packets are found.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use sha2::{Digest, Sha256};
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};

use super::demux::Demux;
use super::error::Error;
use super::guard;
use super::mp4::Movie;
use super::ogg::{self, OggCodec};
use super::page::{Page, Read1};
use super::part::Part;
use super::sniff::{Kind, sniff};
use super::window::Tail;

/// What the digest begins with; another version would name all tracks anew.
const DOMAIN: &[u8] = b"segue sound 1\0";

/// The packet that holds the tags, from 0: in Vorbis (Vorbis I section 4.2) and in Opus (RFC 7845
/// section 5).
const TAGS_PACKET: usize = 1;

/// SHA-256 over the coded sound of a file. `go_on` hears of bytes done, and ends it by `false`.
///
/// # Errors
/// As opening and demultiplexing the file; whatever it says of the sound is decoding's business.
pub(crate) fn payload(
    mut file: File,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<[u8; 32], Error> {
    guard(|| {
        file.rewind()?;
        let sniffed = sniff(&mut file)?;
        let mut digest = Sounding {
            hash: Sha256::new_with_prefix(DOMAIN),
            done: 0,
            go_on,
        };
        if sniffed.kind == Kind::Ogg {
            file.seek(SeekFrom::Start(sniffed.start))?;
            let mut reader = BufReader::new(file);
            let (codec, serial, head) = ogg::probe(&mut reader)?;
            match codec {
                OggCodec::Flac => file = reader.into_inner(),
                OggCodec::Opus | OggCodec::Vorbis => {
                    // It begins with the codec's name.
                    digest.field(&head);
                    digest.ogg(&mut reader, serial)?;
                    return Ok(digest.hash.finalize().into());
                }
            }
        }
        let movie = match sniffed.kind {
            Kind::Mp4 => Some(Movie::read(&mut file, sniffed.start)?),
            _ => None,
        };
        let mut demux = Demux::open(Part::new(file, sniffed.start, sniffed.end)?)?;
        digest.parameters(&demux, movie.as_ref(), sniffed.kind)?;
        while let Ok(packet) = demux.next()? {
            digest.sound(&packet.data)?;
        }
        Ok(digest.hash.finalize().into())
    })
}

/// A digest under way.
struct Sounding<'a> {
    hash: Sha256,
    done: u64,
    go_on: &'a mut dyn FnMut(u64) -> bool,
}

impl Sounding<'_> {
    /// Something of a length of its own.
    fn field(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.hash.update(number.to_le_bytes());
    }

    /// A packet, or a part of one: how PCM is cut into packets is the reader's affair, so their
    /// lengths are left out.
    fn sound(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        self.done += bytes.len() as u64;
        match (self.go_on)(self.done) {
            true => Ok(()),
            false => Err(Error::damaged("nobody waits for it any more")),
        }
    }

    /// Codec, its parameters and the trimming.
    fn parameters(
        &mut self,
        demux: &Demux,
        movie: Option<&Movie>,
        kind: Kind,
    ) -> Result<(), Error> {
        let params = demux.params();
        let rate = params.sample_rate.unwrap_or(0);
        // Names of our own: they are a part of every track's name.
        let codec = match params.codec {
            CODEC_ID_AAC => "aac".to_owned(),
            CODEC_ID_ALAC => "alac".to_owned(),
            CODEC_ID_FLAC => "flac".to_owned(),
            CODEC_ID_OPUS => "opus".to_owned(),
            CODEC_ID_VORBIS => "vorbis".to_owned(),
            _ if kind == Kind::Mpeg => "mpeg".to_owned(),
            other => format!("{other}"),
        };
        self.field(codec.as_bytes());
        self.number(rate.into());
        self.number(params.channels.as_ref().map_or(0, |c| c.count()) as u64);
        self.number(params.bits_per_sample.unwrap_or(0).into());
        // A FLAC file's STREAMINFO says also how long its frames are, as its writer likes to.
        match &params.extra_data {
            Some(extra) if params.codec != CODEC_ID_FLAC => self.field(extra),
            _ => self.field(&[]),
        }
        let track = demux.track();
        match movie {
            Some(movie) => {
                let is_aac = params.codec == CODEC_ID_AAC;
                let (skip, tail) = movie.trim(track.id, rate.max(1), is_aac)?;
                self.number(skip);
                self.number(match tail {
                    Tail::Exactly(frames) | Tail::Edit { frames, .. } => frames,
                    Tail::Open | Tail::Padding { .. } => 0,
                });
            }
            None => {
                self.number(track.delay.unwrap_or(0).into());
                self.number(track.padding.unwrap_or(0).into());
            }
        }
        Ok(())
    }

    /// The packets of a stream in Ogg, but for that of the tags, and where the sound ends.
    fn ogg(&mut self, file: &mut BufReader<File>, serial: u32) -> Result<(), Error> {
        // The first header came with the stream's first page.
        let (mut packet, mut granule) = (1, 0);
        while let Read1::Page(page) = Page::read(file)? {
            if page.serial != serial {
                continue;
            }
            for (bytes, ends) in page.pieces() {
                if packet != TAGS_PACKET {
                    self.sound(bytes)?;
                }
                packet += usize::from(ends);
            }
            if page.granule >= 0 {
                granule = page.granule as u64;
            }
        }
        self.number(granule);
        Ok(())
    }
}
