//! Requests that are under way on a connection, and which streams were last closed.

use futures_util::stream::AbortHandle;

use super::{answer::Answer, receiving::Receiving, stalls::Waiting};
use crate::listen::{exchange::Exchange, priority::Priority};

/// Closed streams that a connection remembers.
const RECENT: usize = 32;

/// A request.
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) receiving: Receiving,
    /// Bytes the client takes of the body.
    pub(super) window: i64,
    pub(super) priority: Priority,
    /// Whether it is in the queue of those that have something to send.
    pub(super) queued: bool,
    /// Interim responses that were written.
    pub(super) interims: u8,
    /// Since the service has answered.
    pub(super) answer: Option<Answer>,
    /// Since the service was asked.
    pub(super) exchange: Option<Exchange>,
    /// Bytes of the response's body that were written.
    pub(super) sent: u64,
    /// Since its client was first seen to take no more.
    pub(super) waiting: Option<Waiting>,
    /// What the service, or the response's body, is being waited for with.
    pub(super) job: Option<AbortHandle>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            job.abort();
        }
    }
}

/// The streams of a connection, by id: no more than [`Limits::streams`].
///
/// [`Limits::streams`]: crate::config::Limits::streams
#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "streams come and go: what moves are pointers"
)]
pub(super) struct Streams(Vec<Box<Stream>>);

impl Streams {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |stream| stream.id)
    }

    /// One of them.
    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let i = self.find(id).ok()?;
        Some(&mut self.0[i])
    }

    /// Takes one out.
    pub(super) fn take(&mut self, id: u32) -> Option<Box<Stream>> {
        let i = self.find(id).ok()?;
        let stream = self.0.remove(i);
        if self.0.is_empty() {
            // Nothing is kept for a connection at rest.
            self.0 = Vec::new();
        }
        Some(stream)
    }

    /// Puts one in.
    pub(super) fn put(&mut self, stream: Box<Stream>) {
        let (Ok(i) | Err(i)) = self.find(stream.id);
        self.0.insert(i, stream);
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut().map(|stream| &mut **stream)
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

/// The streams that were last closed. Frames that were on their way when we reset one are no fault
/// of the client's (RFC 9113 §5.1).
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Id, with the top bit where we reset it.
    ids: [u32; RECENT],
    next: usize,
}

const RESET: u32 = 1 << 31;

impl Recent {
    /// Notes a stream.
    pub(super) fn note(&mut self, id: u32, reset: bool) {
        self.ids[self.next] = if reset { id | RESET } else { id };
        self.next = (self.next + 1) % RECENT;
    }

    /// Whether we reset a stream that was closed; none where that isn't remembered.
    pub(super) fn was_reset(&self, id: u32) -> Option<bool> {
        let known = self.ids.iter().find(|known| **known & !RESET == id)?;
        Some(known & RESET != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered() {
        let mut recent = Recent::default();
        for id in (1..200).step_by(2) {
            recent.note(id, id % 3 == 0);
        }
        assert_eq!(recent.was_reset(199), Some(false));
        assert_eq!(recent.was_reset(195), Some(true));
        assert_eq!(recent.was_reset(1), None);
    }
}
