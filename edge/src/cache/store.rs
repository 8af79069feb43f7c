//! The two tiers together, and what is on its way into them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    disk::Disk,
    fill::{Attached, Fill},
    key::{BodyId, EntryKey, ObjectKey},
    memory::{Memory, Weigh},
    opening::Opening,
    record::{Record, Stored},
};
use crate::{
    asked::Asked,
    exchange::{CacheStats, Upstream},
    purge::{Purges, Verdict},
    serve::Error,
};

/// Slices fetched by one upstream request at most: 16 MiB of the default size.
const RUN: u32 = 64;

/// Locks that in-flight tables and record updates are spread over.
const STRIPES: usize = 16;

/// A value of either tier.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// What is known of an object.
    Record(Arc<Record>),
    /// Bytes of a body.
    Slice(Bytes),
}

impl Weigh for Entry {
    fn weight(&self) -> u64 {
        match self {
            Self::Record(record) => record.weight(),
            Self::Slice(bytes) => bytes.len() as u64,
        }
    }
}

/// The cache.
pub(crate) struct Store {
    pub(super) memory: Memory<Entry>,
    pub(super) disk: Option<Disk>,
    pub(crate) purges: Purges,
    pub(crate) upstream: Arc<dyn Upstream>,
    /// Bytes of a slice.
    pub(crate) slice: u64,
    pub(super) fills: [Mutex<HashMap<BodyId, Vec<Arc<Fill>>>>; STRIPES],
    pub(super) openings: [Mutex<HashMap<ObjectKey, Arc<Opening>>>; STRIPES],
    updates: [Mutex<()>; STRIPES],
    ids: Ids,
    pub(super) counters: Counters,
}

/// Events since start.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) misses: AtomicU64,
    pub(super) fills: AtomicU64,
    pub(super) running: AtomicU64,
    pub(super) collapsed: AtomicU64,
    pub(super) upstream_bytes: AtomicU64,
}

impl Store {
    /// A cache over these parts.
    pub(crate) fn new(
        memory: u64,
        disk: Option<Disk>,
        purges: Purges,
        slice: u64,
        upstream: Arc<dyn Upstream>,
    ) -> Self {
        Self {
            memory: Memory::new(memory),
            disk,
            purges,
            upstream,
            slice,
            fills: Default::default(),
            openings: Default::default(),
            updates: Default::default(),
            ids: Ids::new(),
            counters: Counters::default(),
        }
    }

    /// An identity for the bytes of a new response.
    pub(super) fn new_id(&self) -> BodyId {
        self.ids.next()
    }

    /// What is known of an object, from memory or disk.
    pub(crate) async fn record(&self, key: ObjectKey) -> Option<Arc<Record>> {
        if let Some(Entry::Record(record)) = self.get(key.record()) {
            return Some(record);
        }
        let disk = self
            .disk
            .as_ref()
            .filter(|disk| disk.may_contain(key.record()));
        if let Some(disk) = disk
            && let Some(Entry::Record(record)) = disk.load(key.record()).await
        {
            let _guard = self.updates[stripe(key.0)].lock();
            // Whatever got into memory meanwhile is newer.
            if let Some(Entry::Record(newer)) = self.memory.peek(key.record()) {
                return Some(newer);
            }
            self.memory
                .insert(key.record(), Entry::Record(record.clone()));
            return Some(record);
        }
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Changes what is known of an object. `known` is what a lookup found, should memory have
    /// forgotten it.
    pub(crate) fn update(
        &self,
        asked: &Asked,
        known: Option<&Arc<Record>>,
        change: impl FnOnce(&Record) -> Record,
    ) {
        let key = asked.key.record();
        let _guard = self.updates[stripe(key.id)].lock();
        let current = match self.memory.peek(key) {
            Some(Entry::Record(record)) => Some(record),
            _ => known.cloned(),
        };
        let empty = || Record {
            authority: asked.host(),
            target: asked.target.as_str().into(),
            ..Record::default()
        };
        let next = Arc::new(change(
            &current.map_or_else(empty, |record| (*record).clone()),
        ));
        let returned = self.memory.insert(key, Entry::Record(next.clone()));
        if let Some(disk) = &self.disk
            && (returned || disk.may_contain(key))
        {
            disk.store(key, Entry::Record(next));
        }
    }

    /// Never uses a response again.
    pub(super) fn void(&self, asked: &Asked, stored: &Stored) {
        stored.void.store(true, Ordering::Relaxed);
        self.update(asked, None, |record| record.without(stored.id));
    }

    /// What purges say of a stored response.
    pub(crate) fn judge(&self, asked: &Asked, stored: &Stored) -> Verdict {
        self.purges.judge(
            asked.target.as_str(),
            || Box::new(stored.surrogate_keys()),
            stored.sequence,
        )
    }

    /// A slice, if it is in memory.
    pub(crate) fn slice_in_memory(&self, id: BodyId, n: u32) -> Option<Bytes> {
        match self.get(id.slice(n)) {
            Some(Entry::Slice(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Whether all bytes of a stored response can be had: they are here, on their way, or the
    /// upstream can be asked for exactly them.
    pub(crate) fn complete(&self, stored: &Stored) -> bool {
        if stored.ranged {
            return true;
        }
        let held = |n: u32| {
            let key = stored.id.slice(n);
            self.memory.contains(key)
                || self.disk.as_ref().is_some_and(|disk| disk.may_contain(key))
        };
        let arriving = || {
            self.fills[stripe(stored.id.0)]
                .lock()
                .contains_key(&stored.id)
        };
        match stored.size() {
            Some(0) => true,
            Some(size) => (0..=self.slice_number(size - 1)).all(held) || arriving(),
            None => arriving(),
        }
    }

    /// Stores a slice that arrived.
    pub(super) fn put_slice(&self, id: BodyId, n: u32, bytes: Bytes) {
        let key = id.slice(n);
        let returned = self.memory.insert(key, Entry::Slice(bytes.clone()));
        if let Some(disk) = self.disk.as_ref().filter(|_| returned) {
            disk.store(key, Entry::Slice(bytes));
        }
    }

    /// Looks an entry up in memory; admits it to the disk on its first use.
    fn get(&self, key: EntryKey) -> Option<Entry> {
        let hit = self.memory.get(key)?;
        if let Some(disk) = self
            .disk
            .as_ref()
            .filter(|disk| hit.first && !disk.may_contain(key))
        {
            disk.store(key, hit.value.clone());
        }
        Some(hit.value)
    }

    /// A fill that brings the byte at `at` of a stored body: one that runs already, or a new one
    /// for the missing slices up to `last`.
    pub(crate) fn fill(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        stored: &Arc<Stored>,
        at: u64,
        last: u32,
    ) -> Supply {
        let n = self.slice_number(at);
        let mut fills = self.fills[stripe(stored.id.0)].lock();
        let running = fills.entry(stored.id).or_default();
        if let Some(fill) = running
            .iter()
            .find(|fill| fill.covers(n) && fill.serves(at))
        {
            return Supply::Fill(Attached::to(fill.clone()));
        }
        // A fill that ended since the caller looked has left its slices here.
        if self.memory.contains(stored.id.slice(n)) {
            if running.is_empty() {
                fills.remove(&stored.id);
            }
            return Supply::InMemory;
        }
        let on_disk = |n| {
            self.disk
                .as_ref()
                .is_some_and(|disk| disk.may_contain(stored.id.slice(n)))
        };
        let end = if on_disk(n) {
            n + 1
        } else if stored.ranged {
            let had = |n: u32| {
                self.memory.contains(stored.id.slice(n))
                    || on_disk(n)
                    || running.iter().any(|fill| fill.covers(n))
            };
            let most = last.min(n.saturating_add(RUN - 1));
            (n + 1..=most)
                .find(|n| had(*n))
                .unwrap_or(most.saturating_add(1))
        } else {
            if running.is_empty() {
                fills.remove(&stored.id);
            }
            return Supply::Lost;
        };
        let fill = Arc::new(Fill::new((n, end), u64::from(n) * self.slice));
        running.push(fill.clone());
        let attached = Attached::to(fill.clone());
        tokio::spawn(super::fetch::fill_slices(
            self.clone(),
            asked.clone(),
            stored.clone(),
            fill,
        ));
        Supply::Fill(attached)
    }

    /// Lists a fill, so that others find it.
    pub(super) fn enlist(&self, id: BodyId, fill: &Arc<Fill>) {
        self.fills[stripe(id.0)]
            .lock()
            .entry(id)
            .or_default()
            .push(fill.clone());
    }

    /// Takes a fill off the list: its slices are stored.
    pub(super) fn delist(&self, id: BodyId, fill: &Arc<Fill>) {
        let mut fills = self.fills[stripe(id.0)].lock();
        if let Some(running) = fills.get_mut(&id) {
            running.retain(|other| !Arc::ptr_eq(other, fill));
            if running.is_empty() {
                fills.remove(&id);
            }
        }
    }

    /// The slice that a body offset is in.
    pub(crate) fn slice_number(&self, at: u64) -> u32 {
        u32::try_from(at / self.slice).unwrap_or(u32::MAX - 1)
    }

    /// Flushes and closes the disk tier.
    ///
    /// # Errors
    /// [`Error::Disk`] where that failed.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        match &self.disk {
            Some(disk) => disk.close().await,
            None => Ok(()),
        }
    }

    /// Counters for `/metrics`.
    pub(crate) fn stats(&self) -> CacheStats {
        let (memory_bytes, memory_entries) = self.memory.size();
        let (memory_hits, evictions) = self.memory.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let disk = self.disk.as_ref().map(Disk::counters);
        CacheStats {
            memory_bytes,
            memory_entries,
            memory_hits,
            disk_hits: disk.map_or(0, |d| read(&d.hits)),
            misses: read(&self.counters.misses),
            evictions,
            disk_writes: disk.map_or(0, |d| read(&d.writes)),
            disk_corrupt: disk.map_or(0, |d| read(&d.corrupt)),
            fills: read(&self.counters.running),
            fills_total: read(&self.counters.fills),
            collapsed_total: read(&self.counters.collapsed),
            upstream_bytes: read(&self.counters.upstream_bytes),
        }
    }
}

/// Where bytes that aren't at hand come from.
pub(crate) enum Supply {
    /// A fill, running.
    Fill(Attached),
    /// Memory, after all.
    InMemory,
    /// Nowhere: they are gone and the upstream can't be asked for exactly them.
    Lost,
}

/// Which lock of several an identity uses.
pub(super) fn stripe(id: u128) -> usize {
    usize::try_from(id % STRIPES as u128).unwrap_or(0)
}

/// Body identities: unique across restarts, so that slices of different responses never mix.
struct Ids {
    run: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        Self {
            run: RandomState::new().hash_one(nanos),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> BodyId {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        // Odd multiplier: a permutation that spreads neighbours over the stripes and shards.
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        BodyId((u128::from(self.run) << 64) | u128::from(spread))
    }
}
