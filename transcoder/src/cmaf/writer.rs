//! Packets in, segments out: cuts a rendition on the grid while it is being encoded.
//!
//! The head of the file (edit list, index) depends on the track's length, which is known last, so
//! the segments go to a spool first and the head is made when they are complete. At most two
//! segments are held in memory.

use std::io::Write;

use manifests::{BitrateBps, ByteRange, R128, Segment, Ticks};

use super::{Config, Description, Grid, SourceLength, fragment::Fragment, init::roll_distance};
use crate::Error;

/// A held segment is written once the one after it lasts this long: then the one after it is
/// certainly not a short rest to be merged.
const SURE_AFTER_MS: u64 = 750;

/// Ticks of a rendition's frames and priming.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Ticks per second.
    pub rate: u32,
    /// Ticks per frame.
    pub frame: u32,
    /// Ticks of priming.
    pub priming: u64,
    /// Whether samples are in a roll group.
    pub roll: bool,
}

impl Timing {
    /// The timing of a codec.
    pub fn new(codec: manifests::Codec, rate: u32, frame: u32, priming: u64) -> Timing {
        Timing {
            rate,
            frame,
            priming,
            roll: roll_distance(codec).is_some(),
        }
    }
}

/// Packets of one segment.
#[derive(Debug, Default)]
struct Run {
    first_frame: u64,
    sizes: Vec<u32>,
    data: Vec<u8>,
}

impl Run {
    fn append(&mut self, mut other: Run) {
        self.sizes.append(&mut other.sizes);
        self.data.append(&mut other.data);
    }
}

/// Cuts packets into segments and writes them to a spool.
#[derive(Debug)]
pub struct Writer<W> {
    spool: W,
    timing: Timing,
    grid: Grid,
    /// Complete, but perhaps to be lengthened by a short rest.
    held: Option<Run>,
    open: Run,
    /// Index of the next packet.
    next_frame: u64,
    /// Index of the open segment.
    segment: u64,
    /// First frame of the segment after the open one.
    next_cut: u64,
    written: u64,
    segments: Vec<Segment>,
}

/// The segments of a rendition, in the spool, and what the head has to say about them.
#[derive(Debug)]
pub struct Body<W> {
    /// Holds the segments from its start.
    pub spool: W,
    /// Byte ranges count from the spool's start.
    pub segments: Vec<Segment>,
    /// Bytes in the spool.
    pub bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a rendition whose segments go to `spool`.
    pub fn new(spool: W, timing: Timing) -> Self {
        let grid = Grid {
            rate: timing.rate,
            frame: timing.frame,
            priming: timing.priming,
        };
        Self {
            spool,
            timing,
            grid,
            held: None,
            open: Run::default(),
            next_frame: 0,
            segment: 0,
            next_cut: grid.first_frame(1),
            written: 0,
            segments: Vec::new(),
        }
    }

    /// Appends one packet of a full frame; the last one may turn out shorter.
    ///
    /// # Errors
    /// [`Error::Spool`] where the spool can't be written.
    pub fn packet(&mut self, packet: &[u8]) -> Result<(), Error> {
        if self.next_frame == self.next_cut {
            self.release_held()?;
            let next = Run {
                first_frame: self.next_frame,
                ..Run::default()
            };
            self.held = Some(std::mem::replace(&mut self.open, next));
            self.segment += 1;
            self.next_cut = self.grid.first_frame(self.segment + 1);
        }
        self.open.sizes.push(packet.len() as u32);
        self.open.data.extend_from_slice(packet);
        self.next_frame += 1;
        let ticks = self.open.sizes.len() as u64 * u64::from(self.timing.frame);
        if self.held.is_some() && ticks * 1000 >= SURE_AFTER_MS * u64::from(self.timing.rate) {
            self.release_held()?;
        }
        Ok(())
    }

    /// Ends the rendition: `valid` ticks of sound after the priming; the last packet's duration
    /// is shortened to them.
    ///
    /// # Errors
    /// [`Error::Spool`]; [`Error::Encode`] where the packets don't hold `valid` ticks, or a frame
    /// or more beyond them.
    pub fn finish(mut self, valid: u64, source: SourceLength) -> Result<Body<W>, Error> {
        let frame = u64::from(self.timing.frame);
        let total = self.timing.priming + valid;
        if valid == 0 || total.div_ceil(frame) != self.next_frame {
            return Err(Error::Encode(format!(
                "{} packets of {frame} samples do not hold {total} samples",
                self.next_frame
            )));
        }
        let last = (total - (self.next_frame - 1) * frame) as u32;
        if !Grid::has_segment(self.segment, source)
            && let Some(held) = self.held.take()
        {
            let rest = std::mem::replace(&mut self.open, held);
            self.open.append(rest);
        }
        self.release_held()?;
        let open = std::mem::take(&mut self.open);
        self.write(open, last)?;
        self.spool.flush().map_err(Error::Spool)?;
        Ok(Body {
            spool: self.spool,
            segments: self.segments,
            bytes: self.written,
        })
    }

    fn release_held(&mut self) -> Result<(), Error> {
        match self.held.take() {
            Some(run) => self.write(run, self.timing.frame),
            None => Ok(()),
        }
    }

    fn write(&mut self, run: Run, last: u32) -> Result<(), Error> {
        let start = run.first_frame * u64::from(self.timing.frame);
        let fragment = Fragment {
            sequence: self.segments.len() as u32 + 1,
            start,
            frame: self.timing.frame,
            last,
            sizes: &run.sizes,
            roll: self.timing.roll,
        };
        let head = fragment.head();
        self.spool.write_all(&head).map_err(Error::Spool)?;
        self.spool.write_all(&run.data).map_err(Error::Spool)?;
        let len = (head.len() + run.data.len()) as u64;
        self.segments.push(Segment {
            start: Ticks(start),
            duration: Ticks(fragment.duration()),
            bytes: ByteRange {
                start: self.written,
                len,
            },
        });
        self.written += len;
        Ok(())
    }
}

/// A complete rendition: its head, and its segments still in the spool.
#[derive(Debug)]
pub struct Packaged<W> {
    /// `ftyp moov sidx`.
    pub head: Vec<u8>,
    /// The segments, as they follow the head.
    pub spool: W,
    /// Size of the whole file in bytes.
    pub bytes: u64,
    /// `ftyp` and `moov`.
    pub init: ByteRange,
    /// `sidx`.
    pub index: ByteRange,
    /// Segments, at their place in the file.
    pub segments: Vec<Segment>,
    /// Mean bit rate of the segments.
    pub average: BitrateBps,
    /// Bit rate of the densest segment.
    pub peak: BitrateBps,
    /// What the head describes.
    pub description: Description,
}

impl<W> Packaged<W> {
    /// Puts the head before a body.
    ///
    /// # Errors
    /// [`Error::Encode`] where a segment index can't name so many or so large segments.
    pub fn new(
        config: Config,
        channels: u16,
        timing: Timing,
        valid: u64,
        body: Body<W>,
    ) -> Result<Self, Error> {
        let description = Description {
            config,
            rate: timing.rate,
            channels,
            priming: timing.priming,
            valid,
            loudness: R128::default(),
        };
        let (average, peak) = bitrates(&body.segments, timing.rate);
        let mut packaged = Self {
            head: Vec::new(),
            spool: body.spool,
            bytes: body.bytes,
            init: ByteRange { start: 0, len: 0 },
            index: ByteRange { start: 0, len: 0 },
            segments: body.segments,
            average,
            peak,
            description,
        };
        packaged.lay_out()?;
        Ok(packaged)
    }

    /// Tells the track's loudness in the head, which is known when all of the sound was heard.
    ///
    /// # Errors
    /// As [`Packaged::new`].
    pub fn with_loudness(mut self, loudness: R128) -> Result<Self, Error> {
        self.description.loudness = loudness;
        self.lay_out()?;
        Ok(self)
    }

    /// Makes the head anew and moves the segments behind it.
    fn lay_out(&mut self) -> Result<(), Error> {
        let before = self.head.len() as u64;
        let mut head = self.description.init();
        let sidx = self
            .description
            .index(&self.segments)
            .ok_or_else(|| Error::Encode("too many segments for one index".into()))?;
        self.init.len = head.len() as u64;
        self.index = ByteRange {
            start: self.init.len,
            len: sidx.len() as u64,
        };
        head.extend_from_slice(&sidx);
        let after = head.len() as u64;
        for segment in &mut self.segments {
            segment.bytes.start = segment.bytes.start - before + after;
        }
        self.bytes = self.bytes - before + after;
        self.head = head;
        Ok(())
    }
}

/// Mean and peak in bit/s, rounded up.
fn bitrates(segments: &[Segment], rate: u32) -> (BitrateBps, BitrateBps) {
    let bps = |bytes: u64, ticks: u64| {
        let bits = u128::from(bytes) * 8 * u128::from(rate);
        u32::try_from(bits.div_ceil(u128::from(ticks.max(1)))).unwrap_or(u32::MAX)
    };
    let bytes = segments.iter().map(|s| s.bytes.len).sum();
    let ticks = segments.iter().map(|s| s.duration.0).sum();
    let peak = segments
        .iter()
        .map(|s| bps(s.bytes.len, s.duration.0))
        .max()
        .unwrap_or(0);
    (BitrateBps(bps(bytes, ticks)), BitrateBps(peak))
}
