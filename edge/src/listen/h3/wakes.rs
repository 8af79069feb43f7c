//! How other tasks tell a shard that one of its requests can go on.

use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use quinn_proto::StreamId;

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
    shard: AtomicWaker,
}

impl Wakes {
    /// Notes a request and wakes the shard.
    pub(super) fn wake(&self, key: Key) {
        self.keys.lock().push(key);
        self.shard.wake();
    }

    /// Takes what was noted; the shard's task is woken for more.
    pub(super) fn take(&self, into: &mut Vec<Key>, waker: &Waker) {
        self.shard.register(waker);
        into.append(&mut self.keys.lock());
    }
}
