//! Frames of one HTTP/2 connection, counted as their bytes pass: a client that sends many that ask
//! for nothing is cut off (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316).
//!
//! Reads frame headers only (RFC 9113 §4.1) and leaves their meaning to who serves them. Requests
//! and bytes moved earn what acknowledging them costs; time fills up the rest.

use std::time::Instant;

use super::allowance::{Allowance, RESETS_PER_SECOND};
use crate::config::Limits;

/// Bytes of the client's preface (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Bytes of a frame header.
const HEADER: usize = 9;

/// Frame types (RFC 9113 §6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// What control frames gain by time, a second: window updates and pings of clients at rest.
const CONTROL_PER_SECOND: u32 = 50;
/// What they gain by a request: its priority, window updates, cancellation.
const CONTROL_PER_REQUEST: f64 = 8.0;
/// Bytes moved either way that earn one more: clients acknowledge windows in no smaller steps.
const BYTES_PER_CONTROL: f64 = 1024.0;
/// What SETTINGS cost: each is answered, and may change every stream.
const SETTINGS_COST: f64 = 10.0;

/// The client spent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded;

/// One connection's count.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The frame header being read.
    header: [u8; HEADER],
    have: usize,
    /// Bytes of payload, or of the preface, still to pass.
    skip: usize,
    /// Whether a head has begun and not ended.
    heading: bool,
    /// Whether it ends with the frame that is passing.
    ending: bool,
    control: Allowance,
    resets: Allowance,
}

impl Budget {
    /// At the start of a connection.
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            skip: PREFACE,
            heading: false,
            ending: false,
            control: Allowance::new(limits.h2_control, CONTROL_PER_SECOND, now),
            resets: Allowance::new(limits.resets, RESETS_PER_SECOND, now),
        }
    }

    /// Bytes were sent to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.control.earn(bytes as f64 / BYTES_PER_CONTROL);
    }

    /// Whether a head, or some frame's header, has begun and not ended.
    pub(crate) fn heading(&self) -> bool {
        self.heading || self.have > 0
    }

    /// Looks at the next bytes from the client.
    ///
    /// # Errors
    /// [`Exceeded`] where the connection must be cut off.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Exceeded> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            if self.skip == 0 && self.ending {
                (self.heading, self.ending) = (false, false);
            }
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if !self.frame(kind, flags, self.skip) {
                    return Err(Exceeded);
                }
            }
        }
    }

    /// Counts one frame; false where it is one too many.
    fn frame(&mut self, kind: u8, flags: u8, length: usize) -> bool {
        if matches!(kind, kind::HEADERS | kind::CONTINUATION) {
            let ends = flags & END_HEADERS != 0;
            (self.heading, self.ending) = (!ends || length > 0, ends);
        }
        let cost = match kind {
            kind::HEADERS => {
                self.control.earn(CONTROL_PER_REQUEST);
                return true;
            }
            kind::DATA if length > 0 || flags & END_STREAM != 0 => {
                self.control.earn(length as f64 / BYTES_PER_CONTROL);
                return true;
            }
            kind::RST_STREAM => return self.resets.spend(1.0, Instant::now),
            kind::SETTINGS if flags & ACK == 0 => SETTINGS_COST,
            _ => 1.0,
        };
        self.control.spend(cost, Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        let mut budget = Budget::new(&Limits::default(), Instant::now());
        assert_eq!(budget.pass(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(()));
        budget
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Frames that pass before the client is cut off, of at most 10,000.
    fn flood(frames: &[Vec<u8>]) -> usize {
        let mut budget = budget();
        (0..10_000)
            .take_while(|_| frames.iter().all(|frame| budget.pass(frame).is_ok()))
            .count()
    }

    #[test]
    fn floods_are_cut_off() {
        let get = frame(kind::HEADERS, 5, b"a field section");
        for (what, frames) in [
            ("ping", vec![frame(6, 0, &[0; 8])]),
            ("settings", vec![frame(kind::SETTINGS, 0, &[])]),
            ("continuation", vec![frame(9, 0, b"x")]),
            ("empty data", vec![frame(kind::DATA, 0, &[])]),
            (
                "window updates of one byte",
                vec![frame(8, 0, &[0, 0, 0, 1])],
            ),
            ("unknown", vec![frame(0xbb, 0, &[])]),
            (
                "rapid reset",
                vec![get, frame(kind::RST_STREAM, 0, &[0; 4])],
            ),
        ] {
            assert!(flood(&frames) < 1_500, "{what}");
        }
    }

    #[test]
    fn players_are_not() {
        // A request with priority, two window updates and, at times, a cancellation.
        let request = [
            frame(kind::HEADERS, 5, b"a field section"),
            frame(8, 0, &[0, 0, 0x40, 0]),
            frame(8, 0, &[0, 0, 0x40, 0]),
            frame(16, 0, b"u=1"),
        ];
        assert_eq!(flood(&request), 10_000);
        // An upload, and a download acknowledged every 16 KiB on stream and connection.
        assert_eq!(flood(&[frame(kind::DATA, 0, &[0; 1000])]), 10_000);
        let mut budget = budget();
        for _ in 0..100_000 {
            budget.sent(16 << 10);
            let update = frame(8, 0, &[0, 0, 0x40, 0]);
            assert_eq!(budget.pass(&[update.clone(), update].concat()), Ok(()));
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        let frames = [
            frame(4, 0, &[0; 6]),
            frame(1, 5, b"xyz"),
            frame(6, 0, &[0; 8]),
        ]
        .concat();
        let mut budget = budget();
        frames
            .chunks(1)
            .for_each(|byte| assert_eq!(budget.pass(byte), Ok(())));
        assert_eq!((budget.have, budget.skip), (0, 0));
    }

    #[test]
    fn a_head_is_under_way_until_its_last_byte() {
        let mut budget = budget();
        let head = frame(1, 0, b"xyz");
        let rest = frame(9, 4, b"xyz");
        assert!(!budget.heading());
        for part in [&head[..3], &head[3..], &rest[..4], &rest[4..11]] {
            assert_eq!(budget.pass(part), Ok(()));
            assert!(budget.heading());
        }
        assert_eq!(budget.pass(&rest[11..]), Ok(()));
        assert!(!budget.heading());
        assert_eq!(budget.pass(&frame(1, 4, &[])), Ok(()));
        assert!(!budget.heading());
    }
}
