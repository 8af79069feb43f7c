//! How other tasks tell a shard that one of its requests can go on, or has an interim response.

use std::{sync::Arc, task::Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use quinn_proto::{Dir, Side, StreamId};

use super::answer;
use crate::interim::{Interim, Number, Sink};

/// Interim responses of a shard that may wait to be sent; more are dropped.
const INTERIMS: usize = 256;

/// Bytes of one, encoded; longer ones are dropped.
const INTERIM_BYTES: usize = 16 << 10;

/// A request of a shard. Connections' places are used again, so each has a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) place: usize,
    pub(super) generation: u32,
    pub(super) stream: StreamId,
}

/// Requests that can go on. At most as many as there are streams with a body: each wakes only
/// after it was told to wait.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    keys: Mutex<Vec<Key>>,
    interims: Mutex<Vec<(Key, Bytes)>>,
    shard: AtomicWaker,
}

impl Key {
    fn number(self) -> Number {
        let place = u64::try_from(self.place).unwrap_or(u64::MAX);
        [
            place << 32 | u64::from(self.generation),
            self.stream.index(),
        ]
    }

    /// Of a request, which a client has begun.
    fn of_number([connection, stream]: Number) -> Self {
        let low = connection & u64::from(u32::MAX);
        Self {
            place: usize::try_from(connection >> 32).unwrap_or(usize::MAX),
            generation: u32::try_from(low).unwrap_or(u32::MAX),
            stream: StreamId::new(Side::Client, Dir::Bi, stream),
        }
    }
}

impl Sink for Wakes {
    fn tell(&self, request: Number, status: StatusCode, headers: &HeaderMap) {
        let frame = answer::interim(status, headers);
        let mut interims = self.interims.lock();
        if frame.len() <= INTERIM_BYTES && interims.len() < INTERIMS {
            interims.push((Key::of_number(request), frame));
            drop(interims);
            self.shard.wake();
        }
    }
}

impl Wakes {
    /// Notes a request and wakes the shard.
    pub(super) fn wake(&self, key: Key) {
        self.keys.lock().push(key);
        self.shard.wake();
    }

    /// Where interim responses to a request go.
    pub(super) fn interim(self: &Arc<Self>, key: Key) -> Interim {
        Interim::to(Arc::clone(self) as Arc<dyn Sink>, key.number())
    }

    /// Takes what was noted; the shard's task is woken for more.
    pub(super) fn take(&self, into: &mut Vec<Key>, waker: &Waker) {
        self.shard.register(waker);
        into.append(&mut self.keys.lock());
    }

    /// Takes the interim responses.
    pub(super) fn interims(&self) -> Vec<(Key, Bytes)> {
        std::mem::take(&mut self.interims.lock())
    }
}
