//! When each segment is decoded and when it is heard: the two timelines of a rendition.

use crate::{ByteRange, Rendition, Ticks, Timescale};

/// A segment on a timeline of its rendition that starts at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position among the rendition's segments, from 1: the `{n}` of `{n}.m4s`.
    pub number: u32,
    /// Instant of its first sample on that timeline.
    pub start: Ticks,
    /// How much of the timeline it fills.
    pub duration: Ticks,
    /// Where it lies in the file.
    pub bytes: ByteRange,
}

impl Span {
    /// The duration in microseconds, rounded so that the durations of consecutive segments add up
    /// to the rounded sum: errors never accumulate along a playlist.
    pub fn duration_us(&self, timescale: Timescale) -> u64 {
        let end = Ticks(self.start.0 + self.duration.0);
        micros(end, timescale) - micros(self.start, timescale)
    }
}

impl Rendition {
    /// Segments as heard: priming is taken off the first and padding off the last, so that
    /// together they are as long as the valid sound. What DASH calls the presentation timeline.
    pub fn presented(&self) -> impl Iterator<Item = Span> + '_ {
        self.spans(self.priming.0, self.valid.0)
    }

    /// Segments where their `tfdt` places them, the last shortened by the priming, so that together
    /// they are as long as the valid sound. What HLS playlists are written in.
    pub fn decoded(&self) -> impl Iterator<Item = Span> + '_ {
        let mut spans = self.coded().peekable();
        std::iter::from_fn(move || {
            let mut span = spans.next()?;
            if spans.peek().is_none() {
                let left = span.duration.0.saturating_sub(self.priming.0);
                span.duration = Ticks(left.max(1));
            }
            Some(span)
        })
    }

    /// Segments as long as what they decode to, priming included: what bit rates are measured on.
    pub(crate) fn coded(&self) -> impl Iterator<Item = Span> + '_ {
        self.spans(0, self.priming.0.saturating_add(self.valid.0))
    }

    /// Segments on the timeline that starts at media time `origin` and is `length` ticks long. One
    /// that lies wholly beyond the end holds nothing but padding and is left out.
    fn spans(&self, origin: u64, length: u64) -> impl Iterator<Item = Span> + '_ {
        let clamp = move |media: u64| media.saturating_sub(origin).min(length);
        (1u32..)
            .zip(&self.segments)
            .filter_map(move |(number, segment)| {
                let start = clamp(segment.start.0);
                let end = clamp(segment.start.0.saturating_add(segment.duration.0));
                let beyond = start == end && start == length && number > 1;
                (!beyond).then_some(Span {
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
    let rate = u64::from(timescale.0.max(1));
    // Half a year fits the narrow multiplication, which is several times as fast.
    if let Some(scaled) = ticks.0.checked_mul(1_000_000)
        && let Some(rounded) = scaled.checked_add(rate / 2)
    {
        return rounded / rate;
    }
    let us = (u128::from(ticks.0) * 1_000_000 + u128::from(rate / 2)) / u128::from(rate);
    u64::try_from(us).unwrap_or(u64::MAX)
}

/// Microseconds as decimal seconds with six digits, as `EXTINF` takes them.
pub(crate) fn decimal_seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
