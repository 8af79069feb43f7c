//! One segment: a movie fragment and its media data (ISO/IEC 14496-12 §8.8).

use super::{boxes::Boxes, init::TRACK_ID};

/// Sample flags of a sample that depends on no other (§8.8.3.1: `sample_depends_on` 2, sync).
const INDEPENDENT: u32 = 0x0200_0000;

/// `tfhd`: default duration, default flags, data offsets count from the `moof`.
const TFHD_FLAGS: u32 = 0x02_0028;

/// `trun`: data offset and a size for each sample.
const TRUN_FLAGS: u32 = 0x201;

/// `trun`: durations too, where the last sample is shorter than the others.
const TRUN_DURATIONS: u32 = 0x100;

/// What a fragment says of its samples.
pub(super) struct Fragment<'a> {
    /// From 1.
    pub(super) sequence: u32,
    /// Media time of the first sample, in ticks.
    pub(super) start: u64,
    /// Ticks of each sample but perhaps the last.
    pub(super) frame: u32,
    /// Ticks of the last sample.
    pub(super) last: u32,
    /// Bytes of each sample.
    pub(super) sizes: &'a [u32],
    /// Whether the samples belong to the `roll` group that the init segment describes.
    pub(super) roll: bool,
}

impl Fragment<'_> {
    /// Sum of the samples' durations in ticks.
    pub(super) fn duration(&self) -> u64 {
        let full = self.sizes.len().saturating_sub(1) as u64;
        full * u64::from(self.frame) + u64::from(self.last)
    }

    /// The `moof` box and the header of the `mdat` that follows it.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut b = Boxes::new();
        let mut offset_at = 0;
        b.plain(b"moof", |b| {
            b.full(b"mfhd", 0, 0, |b| {
                b.u32(self.sequence);
            });
            b.plain(b"traf", |b| offset_at = self.traf(b));
        });
        let data = b.len() as u32 + 8;
        b.patch_u32(offset_at, data);
        let payload: u32 = self.sizes.iter().sum();
        b.u32(payload + 8).bytes(b"mdat");
        b.into_bytes()
    }

    /// Returns where `trun`'s data offset lies.
    fn traf(&self, b: &mut Boxes) -> usize {
        b.full(b"tfhd", 0, TFHD_FLAGS, |b| {
            b.u32(TRACK_ID).u32(self.frame).u32(INDEPENDENT);
        });
        b.full(b"tfdt", 1, 0, |b| {
            b.u64(self.start);
        });
        let mut offset_at = 0;
        let durations = self.last != self.frame;
        let flags = TRUN_FLAGS | if durations { TRUN_DURATIONS } else { 0 };
        b.full(b"trun", 0, flags, |b| {
            b.u32(self.sizes.len() as u32);
            offset_at = b.len();
            b.u32(0);
            for (n, size) in self.sizes.iter().enumerate() {
                if durations {
                    b.u32(if n + 1 == self.sizes.len() {
                        self.last
                    } else {
                        self.frame
                    });
                }
                b.u32(*size);
            }
        });
        if self.roll {
            b.full(b"sbgp", 0, 0, |b| {
                b.bytes(b"roll").u32(1).u32(self.sizes.len() as u32).u32(1);
            });
        }
        offset_at
    }
}
