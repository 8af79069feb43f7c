//! When each segment is heard: presentation times, with priming and padding taken off.

use crate::{ByteRange, Rendition, Ticks, Timescale};

/// A segment on the presentation timeline of its rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Position among the rendition's segments, from 1: the `{n}` of `{n}.m4s`.
    pub number: u32,
    /// Instant of its first valid sample; the presentation starts at 0.
    pub start: Ticks,
    /// Valid sound in it.
    pub duration: Ticks,
    /// Where it lies in the file.
    pub bytes: ByteRange,
}

impl Presented {
    /// The duration in microseconds, rounded so that the durations of consecutive segments add up
    /// to the rounded sum: errors never accumulate along a playlist.
    pub fn duration_us(&self, timescale: Timescale) -> u64 {
        let end = Ticks(self.start.0 + self.duration.0);
        micros(end, timescale) - micros(self.start, timescale)
    }
}

impl Rendition {
    /// Segments as presented: without gaps, starting at 0, and together as long as the valid
    /// sound. A segment at the end that holds nothing but padding is left out.
    pub fn presented(&self) -> impl Iterator<Item = Presented> + '_ {
        let clamp = |media: u64| media.saturating_sub(self.priming.0).min(self.valid.0);
        (1u32..)
            .zip(&self.segments)
            .filter_map(move |(number, segment)| {
                let start = clamp(segment.start.0);
                let end = clamp(segment.start.0.saturating_add(segment.duration.0));
                let silent_tail = start == end && start == self.valid.0 && number > 1;
                (!silent_tail).then_some(Presented {
                    number,
                    start: Ticks(start),
                    duration: Ticks(end - start),
                    bytes: segment.bytes,
                })
            })
    }
}

/// Ticks as microseconds, to the nearest.
pub(crate) fn micros(ticks: Ticks, timescale: Timescale) -> u64 {
    let rate = u128::from(timescale.0.max(1));
    let us = (u128::from(ticks.0) * 1_000_000 + rate / 2) / rate;
    u64::try_from(us).unwrap_or(u64::MAX)
}

/// Microseconds as decimal seconds with six digits, as `EXTINF` takes them.
pub(crate) fn decimal_seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
