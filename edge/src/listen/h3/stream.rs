//! One request on a connection: what is known of it between two events.

use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::AbortHandle;
use quinn_proto::{Connection, ReadError, StreamId};

use super::{answer::Answer, incoming::Incoming, upload::Sender};
use crate::{
    config::Limits,
    exchange::Response,
    listen::{exchange::Exchange, head::Head},
};

/// Most bytes taken from QUIC at a time.
const CHUNK: usize = 16 << 10;

/// A request.
pub(super) struct Stream {
    pub(super) id: StreamId,
    /// When its first byte came; then when the window began in which its body has to come.
    pub(super) since: Instant,
    /// Bytes of its body that came in that window.
    pub(super) uploaded: u64,
    /// Whether the window waits, there being no room for more.
    pub(super) paused: bool,
    pub(super) incoming: Incoming,
    /// Whether QUIC has more of it, or will.
    pub(super) receiving: bool,
    /// Complete, while it isn't known whether a body follows.
    pub(super) head: Option<(Box<Head>, Option<u64>)>,
    /// Where its body goes.
    pub(super) upload: Option<Sender>,
    /// Since the service was asked.
    pub(super) exchange: Option<Exchange>,
    /// What the service, or the response's body, is being waited for with.
    pub(super) job: Option<AbortHandle>,
    /// Interim responses still to be written, while there is no answer.
    pub(super) interims: Vec<Bytes>,
    /// How many there were.
    pub(super) interims_total: u32,
    /// Since the service has answered.
    pub(super) answer: Option<Answer>,
    pub(super) pace: Pace,
}

/// What is there to read.
pub(super) enum Chunk {
    /// Bytes.
    Bytes(Bytes),
    /// The end.
    End,
    /// Nothing for now.
    Blocked,
    /// The client gave the stream up.
    Reset,
}

impl Stream {
    /// A stream just opened.
    pub(super) fn new(id: StreamId, now: Instant, limits: &Limits) -> Self {
        Self {
            id,
            since: now,
            uploaded: 0,
            paused: false,
            incoming: Incoming::new(limits),
            receiving: true,
            head: None,
            upload: None,
            exchange: None,
            job: None,
            interims: Vec::new(),
            interims_total: 0,
            answer: None,
            pace: Pace {
                since: now,
                bytes: 0,
            },
        }
    }

    /// The final response is here; it comes behind interim ones.
    pub(super) fn answered(&mut self, response: &mut Response) {
        let mut answer = Answer::new(response);
        answer.follow(std::mem::take(&mut self.interims));
        self.answer = Some(answer);
    }

    /// Begins a window in which its body has to come.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.uploaded, self.paused) = (now, 0, false);
    }

    /// Whether its head, or the end behind it, is still to come.
    pub(super) fn unresolved(&self) -> bool {
        self.exchange.is_none()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            job.abort();
        }
    }
}

/// Takes the next bytes of a stream from QUIC, in order.
pub(super) fn read(quic: &mut Connection, id: StreamId) -> Chunk {
    let mut stream = quic.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else {
        return Chunk::End;
    };
    let chunk = match chunks.next(CHUNK) {
        Ok(Some(chunk)) => Chunk::Bytes(chunk.bytes),
        Ok(None) => Chunk::End,
        Err(ReadError::Blocked) => Chunk::Blocked,
        Err(ReadError::Reset(_)) => Chunk::Reset,
    };
    // Whatever this calls for leaves with the next transmit.
    let _ = chunks.finalize();
    chunk
}

/// Whether a client takes what it is sent fast enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When the window began.
    pub(super) since: Instant,
    /// Bytes taken in it.
    pub(super) bytes: u64,
}

impl Pace {
    /// Begins a window.
    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.bytes = 0;
    }

    /// Judges a window that may be over: when to look again, or none where the client is too slow.
    pub(super) fn judge(&mut self, now: Instant, limits: &Limits) -> Option<Instant> {
        if now < self.since + limits.stall {
            return Some(self.since + limits.stall);
        }
        let least = (limits.min_rate as f64 * limits.stall.as_secs_f64()) as u64;
        (self.bytes >= least.max(1)).then(|| {
            self.restart(now);
            now + limits.stall
        })
    }
}
