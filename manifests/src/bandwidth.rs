//! Bit rates as manifests declare them, measured on the segments.

use crate::{BitrateBps, Rendition};

/// Declared rates of one rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bandwidth {
    /// `BANDWIDTH` and `@bandwidth`: the highest rate that a player must sustain.
    pub(crate) peak: BitrateBps,
    /// `AVERAGE-BANDWIDTH`.
    pub(crate) average: BitrateBps,
}

impl Rendition {
    /// Peak segment bit rate as RFC 8216 §4.1 defines it: the largest rate of any run of segments
    /// whose duration lies between 0.5 and 1.5 target durations; the average where the track is
    /// shorter than that.
    pub(crate) fn bandwidth(&self) -> Bandwidth {
        let segments: Vec<(u64, u64)> = self
            .coded()
            .map(|s| (s.bytes.len, s.duration_us(self.timescale)))
            .collect();
        let total_bytes: u64 = segments.iter().map(|s| s.0).sum();
        let average = rate(total_bytes, segments.iter().map(|s| s.1).sum());
        let target_us = target_duration_s(segments.iter().map(|s| s.1)) * 1_000_000;
        let (shortest, longest) = (target_us / 2, target_us + target_us / 2);
        let mut peak = average;
        for first in 0..segments.len() {
            let (mut bytes, mut us) = (0, 0);
            for segment in &segments[first..] {
                bytes += segment.0;
                us += segment.1;
                if us > longest {
                    break;
                }
                if us >= shortest {
                    peak = peak.max(rate(bytes, us));
                }
            }
        }
        Bandwidth { peak, average }
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
