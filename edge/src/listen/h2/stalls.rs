//! Streams whose client takes nothing of them while it takes of others: they would hold what they are
//! to be sent for as long as the connection lives. A connection on which nothing moves at all is cut
//! as a whole (`vitals.rs`).

use std::time::{Duration, Instant};

use super::{answer::Next, core::Core, error::Code};
use crate::{config::Limits, listen::dribble};

/// What a stream must take, and when that is looked at next.
#[derive(Debug)]
pub(super) struct Stalls {
    stall: Duration,
    least: u64,
    next: Instant,
}

/// A stream that waits for its client's window, and what it had been sent when that was first seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    since: Instant,
    sent: u64,
}

impl Stalls {
    /// Under those limits.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            stall: limits.stall,
            least: dribble::least(limits),
            next: now,
        }
    }
}

impl Core {
    /// Resets the streams that are too slow; how many. Looks four times in [`Limits::stall`].
    pub(super) fn cut_stalled(&mut self, now: Instant) -> usize {
        let Stalls { stall, least, next } = self.stalls;
        if now < next {
            return 0;
        }
        self.stalls.next = now + stall / 4;
        let mut slow = Vec::new();
        for stream in self.streams.iter_mut() {
            let answer = stream.answer.as_mut();
            let waits = stream.window <= 0 && answer.is_some_and(|a| a.next() == Next::Data);
            let fresh = Waiting {
                since: now,
                sent: stream.sent,
            };
            match stream.waiting.filter(|_| waits) {
                Some(waiting) if now - waiting.since < stall => {}
                Some(waiting) if stream.sent - waiting.sent < least => slow.push(stream.id),
                _ => stream.waiting = waits.then_some(fresh),
            }
        }
        for id in &slow {
            if let Some(stream) = self.streams.take(*id) {
                self.reset(stream, Code::Cancel);
            }
        }
        slow.len()
    }
}
