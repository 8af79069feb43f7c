//! Bit rates as manifests declare them, measured on the segments.

use crate::{BitrateBps, Rendition};

/// Declared rates of one rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bandwidth {
    /// `BANDWIDTH` and `@bandwidth`: the highest rate that a player must sustain.
    pub(crate) peak: BitrateBps,
    /// `AVERAGE-BANDWIDTH`.
    pub(crate) average: BitrateBps,
    /// All of its segments.
    pub(crate) whole: Run,
}

/// Segments in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) bytes: u64,
    pub(crate) us: u64,
}

impl Run {
    /// The longer run.
    pub(crate) fn and(self, more: Run) -> Run {
        Run {
            bytes: self.bytes + more.bytes,
            us: self.us + more.us,
        }
    }

    /// Its bit rate.
    pub(crate) fn rate(self) -> BitrateBps {
        rate(self.bytes, self.us)
    }

    /// Whether it has the higher rate. Multiplies, where a quotient would take ten times as long.
    fn above(self, other: Run) -> bool {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.bytes, other.us) > product(other.bytes, self.us)
    }
}

impl Rendition {
    /// Peak segment bit rate as RFC 8216 §4.1 defines it: the largest rate of any run of segments
    /// whose duration lies between 0.5 and 1.5 target durations; the average where the track is
    /// shorter than that.
    pub(crate) fn bandwidth(&self) -> Bandwidth {
        let segments: Vec<Run> = self
            .coded()
            .map(|s| Run {
                bytes: s.bytes.len,
                us: s.duration_us(self.timescale),
            })
            .collect();
        let whole = segments.iter().fold(Run::default(), |all, s| all.and(*s));
        let target_us = target_duration_s(segments.iter().map(|s| s.us)) * 1_000_000;
        let (shortest, longest) = (target_us / 2, target_us + target_us / 2);
        let mut peak = whole;
        for first in 0..segments.len() {
            let mut run = Run::default();
            for segment in &segments[first..] {
                run = run.and(*segment);
                if run.us > longest {
                    break;
                }
                if run.us >= shortest && run.above(peak) {
                    peak = run;
                }
            }
        }
        Bandwidth {
            peak: peak.rate(),
            average: whole.rate(),
            whole,
        }
    }
}

/// `EXT-X-TARGETDURATION`: the longest segment, to the nearest second and at least 1 (RFC 8216
/// §4.3.3.1).
pub(crate) fn target_duration_s(durations_us: impl Iterator<Item = u64>) -> u64 {
    durations_us
        .map(|us| (us + 500_000) / 1_000_000)
        .max()
        .unwrap_or(1)
        .max(1)
}

/// Bits per second, rounded up; 0 for no time at all.
pub(crate) fn rate(bytes: u64, us: u64) -> BitrateBps {
    if us == 0 {
        return BitrateBps(0);
    }
    let bps = match bytes.checked_mul(8_000_000) {
        Some(bits) => bits.div_ceil(us),
        None => {
            let bits = u128::from(bytes) * 8_000_000;
            u64::try_from(bits.div_ceil(u128::from(us))).unwrap_or(u64::MAX)
        }
    };
    BitrateBps(u32::try_from(bps).unwrap_or(u32::MAX))
}
