//! Vorbis and Opus in Ogg, trimmed to the sample by granule positions.
//!
//! Opus: RFC 7845 section 4. Vorbis: Vorbis I section A.2. Both count frames, so the start of the
//! sound is the first page's granule less the frames that its packets decode to, and the end is
//! the last page's granule.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;

use super::chunk::Chunk;
use super::codec::{Decode, Lost, Shape, Symphonia};
use super::error::Error;
use super::frames::{Frames, Step};
use super::opus::{Head, Opus, Order};
use super::page::{Page, Read1};

/// Largest packet: setup headers and covers in comments are the long ones.
const MAX_PACKET_BYTES: usize = 64 * 1024 * 1024;
/// Pages looked at to find a stream that is sound.
const MAX_FIRST_PAGES: usize = 64;
/// Bytes at the end of the file in which the last page is looked for.
const TAIL_BYTES: u64 = 128 * 1024;

/// The codec of the stream that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OggCodec {
    Opus,
    Vorbis,
    Flac,
}

/// A logical stream with its decoder.
pub(super) struct Ogg {
    file: BufReader<File>,
    serial: u32,
    codec: Box<dyn Decode>,
    /// Codec header packets still to be passed over.
    headers: usize,
    partial: Vec<u8>,
    /// Sound from packets that share a page with the headers.
    early: Chunk,
    sequence: Option<u32>,
    /// Frames decoded so far.
    decoded: u64,
    /// Granule of frame 0, once known.
    base: Option<i64>,
    ended: bool,
    /// Frames of the whole stream by its last page.
    promised: Option<u64>,
    pre_skip: u64,
}

/// Finds the first stream of the file that is sound.
///
/// # Errors
/// [`Error::NoAudioTrack`], [`Error::Unsupported`], [`Error::Damaged`] or [`Error::CutOff`].
pub(super) fn probe(file: &mut BufReader<File>) -> Result<(OggCodec, u32, Vec<u8>), Error> {
    for _ in 0..MAX_FIRST_PAGES {
        let page = match Page::read(file)? {
            Read1::Page(page) if page.first => page,
            Read1::Page(_) => return Err(Error::NoAudioTrack),
            Read1::End | Read1::CutOff => return Err(Error::CutOff { found_s: 0.0 }),
            Read1::Corrupt => return Err(wrong_checksum()),
        };
        let head = page
            .pieces()
            .first()
            .map_or(Vec::new(), |(bytes, _)| bytes.to_vec());
        let codec = match head.as_slice() {
            h if h.starts_with(b"OpusHead") => OggCodec::Opus,
            h if h.starts_with(b"\x01vorbis") => OggCodec::Vorbis,
            h if h.starts_with(b"\x7fFLAC") => OggCodec::Flac,
            h if h.starts_with(b"Speex   ") => {
                return Err(Error::Unsupported {
                    codec: "Speex".to_owned(),
                });
            }
            _ => continue,
        };
        return Ok((codec, page.serial, head));
    }
    Err(Error::NoAudioTrack)
}

fn wrong_checksum() -> Error {
    Error::damaged("an Ogg page doesn't match its checksum")
}

impl Ogg {
    /// Opens an Opus or Vorbis stream that [`probe`] found; `file` stands behind its first page.
    ///
    /// # Errors
    /// As [`probe`].
    pub(super) fn open(
        mut file: BufReader<File>,
        codec: OggCodec,
        serial: u32,
        head: &[u8],
    ) -> Result<Ogg, Error> {
        let last = last_granule(&mut file, serial)?;
        let mut ogg = Ogg {
            file,
            serial,
            codec: Box::new(Nothing),
            headers: 0,
            partial: Vec::new(),
            early: Chunk::default(),
            sequence: None,
            decoded: 0,
            base: None,
            ended: false,
            promised: last.and_then(|granule| u64::try_from(granule).ok()),
            pre_skip: 0,
        };
        if codec == OggCodec::Opus {
            let head = Head::parse(head, Order::Little)?;
            ogg.pre_skip = u64::from(head.pre_skip);
            ogg.codec = Box::new(Opus::new(&head)?);
            ogg.headers = 1;
        } else {
            ogg.codec = Box::new(ogg.vorbis(head.to_vec())?);
        }
        Ok(ogg)
    }

    /// Frames at the start that Opus wants dropped.
    pub(super) fn pre_skip(&self) -> u64 {
        self.pre_skip
    }

    /// Valid frames by the last page, if it was found.
    pub(super) fn samples_hint(&self) -> Option<u64> {
        self.promised
            .map(|granule| granule.saturating_sub(self.pre_skip))
    }

    /// Reads the comment and setup headers of Vorbis and makes its decoder.
    fn vorbis(&mut self, mut headers: Vec<u8>) -> Result<Symphonia, Error> {
        let mut packets = VecDeque::new();
        while packets.len() < 2 {
            match self.page()? {
                Ok(page) => packets.extend(self.packets(&page)?),
                Err(_) => return Err(Error::CutOff { found_s: 0.0 }),
            }
        }
        if !packets[1].starts_with(b"\x05vorbis") {
            return Err(Error::damaged("its Vorbis headers are not in place"));
        }
        headers.extend_from_slice(&packets[1]);
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(CODEC_ID_VORBIS)
            .with_extra_data(headers.into_boxed_slice());
        let mut vorbis = Symphonia::new(&params)?;
        if let Some((rate, channels)) = vorbis_shape(params.extra_data.as_deref()) {
            vorbis.set_shape(rate, channels);
        }
        // Sound should start on a fresh page (Vorbis I section A.2), but some encoders put the
        // first packet, which gives no frames, behind the headers.
        for packet in packets.iter().skip(2) {
            if let Ok(more) = vorbis.decode(packet) {
                self.early.append(more);
            }
        }
        Ok(vorbis)
    }

    /// The next page of the stream; the inner error is the end, and whether it is a cut.
    fn page(&mut self) -> Result<Result<Page, bool>, Error> {
        loop {
            match Page::read(&mut self.file)? {
                Read1::Page(page) if page.serial == self.serial => {
                    let follows = self
                        .sequence
                        .is_none_or(|n| n.wrapping_add(1) == page.sequence);
                    if !follows {
                        return Err(Error::damaged("Ogg pages are missing in its middle"));
                    }
                    self.sequence = Some(page.sequence);
                    return Ok(Ok(page));
                }
                Read1::Page(page) if page.first && self.ended => {
                    return Err(Error::Unsupported {
                        codec: "a chain of several streams in one file".to_owned(),
                    });
                }
                Read1::Page(_) => {}
                Read1::End => return Ok(Err(!self.partial.is_empty() && !self.ended)),
                Read1::CutOff => return Ok(Err(!self.ended)),
                Read1::Corrupt if self.ended => return Ok(Err(false)),
                Read1::Corrupt => return Err(wrong_checksum()),
            }
        }
    }

    /// The packets that end on a page.
    fn packets(&mut self, page: &Page) -> Result<Vec<Vec<u8>>, Error> {
        if page.continued == self.partial.is_empty() && page.continued {
            return Err(Error::damaged(
                "an Ogg page continues a packet that never began",
            ));
        }
        let mut packets = Vec::new();
        for (bytes, ends) in page.pieces() {
            if self.partial.len() + bytes.len() > MAX_PACKET_BYTES {
                return Err(Error::damaged("an Ogg packet is absurdly long"));
            }
            self.partial.extend_from_slice(bytes);
            if ends {
                packets.push(std::mem::take(&mut self.partial));
            }
        }
        Ok(packets)
    }

    /// Decodes the packets that end on a page and trims them by its granule.
    fn decode(&mut self, page: &Page) -> Result<Chunk, Error> {
        let mut chunk = std::mem::take(&mut self.early);
        let mut sound = false;
        for packet in self.packets(page)? {
            if self.headers > 0 {
                self.headers -= 1;
                continue;
            }
            sound = true;
            match self.codec.decode(&packet) {
                Ok(more) => chunk.append(more),
                // A packet without sound at the very end is how some encoders close a stream.
                Err(Lost::Packet(_)) if packet.is_empty() => {}
                Err(Lost::Packet(why)) => return Err(Error::damaged(why)),
                Err(Lost::Codec(error)) => return Err(error),
            }
        }
        if sound && page.granule >= 0 {
            self.trim(&mut chunk, page);
        }
        self.decoded += chunk.frames() as u64;
        Ok(chunk)
    }

    fn trim(&mut self, chunk: &mut Chunk, page: &Page) {
        let frames = chunk.frames() as i64;
        let end = self.decoded as i64 + frames;
        let base = match self.base {
            Some(base) => base,
            // On a first page that is also the last, what is missing is missing at the end.
            None if page.last => 0,
            // Frames before 0 are not to be heard. Only Vorbis may have them.
            None if page.granule < end => {
                chunk.take_front((end - page.granule).min(frames) as usize);
                0
            }
            None => page.granule - end,
        };
        self.base = Some(base);
        if page.last {
            let valid = (page.granule - base - self.decoded as i64).clamp(0, frames);
            chunk.truncate(valid as usize);
        }
    }
}

impl Frames for Ogg {
    fn next(&mut self) -> Result<Step, Error> {
        loop {
            match self.page()? {
                Ok(page) if self.ended => {
                    let _ = page;
                    return Err(Error::damaged("its Ogg stream goes on after its last page"));
                }
                Ok(page) => {
                    let chunk = self.decode(&page)?;
                    self.ended = page.last;
                    if chunk.frames() > 0 {
                        return Ok(Step::Chunk(chunk));
                    }
                }
                Err(cut_off) => return Ok(Step::End { cut_off }),
            }
        }
    }

    fn shape(&self) -> Shape {
        self.codec.shape()
    }

    fn bit_depth(&self) -> Option<u32> {
        None
    }
}

/// Granule of the last page of a stream, found from the end of the file. Restores the position.
fn last_granule(file: &mut BufReader<File>, serial: u32) -> Result<Option<i64>, Error> {
    let back = file.stream_position()?;
    let len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(back))?;
    let mut tail = tail.as_slice();
    let mut last = None;
    loop {
        match Page::read(&mut tail)? {
            Read1::Page(page) if page.serial == serial && page.granule >= 0 => {
                last = Some(page.granule);
            }
            Read1::Page(_) | Read1::Corrupt => {}
            Read1::End | Read1::CutOff => return Ok(last),
        }
    }
}

/// Rate and channels of a Vorbis identification header (Vorbis I section 4.2.2).
fn vorbis_shape(ident: Option<&[u8]>) -> Option<(u32, u8)> {
    let ident = ident?;
    let rate = u32::from_le_bytes(ident.get(12..16)?.try_into().ok()?);
    Some((rate, *ident.get(11)?))
}

/// Stands in for the decoder while the headers are read.
struct Nothing;

impl Decode for Nothing {
    fn decode(&mut self, _packet: &[u8]) -> Result<Chunk, Lost> {
        Ok(Chunk::default())
    }

    fn shape(&self) -> Shape {
        Shape {
            rate: 0,
            layout: Vec::new(),
        }
    }
}
