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
    fill::{Attached, Fill, Keep, Window},
    key::{BodyId, EntryKey, ObjectKey},
    ledger::Ledger,
    memory::{Memory, Reason, Weigh},
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
pub(super) const RUN: u32 = 64;

/// The part of the configured memory that windows may take of fills whose bytes can't be fetched
/// again, and the slices that each of them has at least.
const WINDOWS: u64 = 4;
const WINDOW_SLICES: u64 = 3;

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

impl Entry {
    /// Bytes it takes, about.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.weight()).unwrap_or(usize::MAX)
    }
}

impl Weigh for Entry {
    fn weight(&self) -> u64 {
        match self {
            Self::Record(record) => record.weight(),
            Self::Slice(bytes) => bytes.len() as u64,
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Self::Record(_) => false,
            Self::Slice(bytes) => !bytes.is_unique(),
        }
    }
}

/// The cache.
pub(crate) struct Store {
    pub(super) memory: Memory<Entry>,
    pub(crate) ledger: Arc<Ledger>,
    /// Bytes of the configured memory, and of those, the bytes lent to windows.
    configured: u64,
    windows: Arc<AtomicU64>,
    pub(super) disk: Option<Arc<Disk>>,
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
    prefetched: AtomicU64,
}

impl Store {
    /// A cache over these parts.
    pub(crate) fn new(
        memory: u64,
        disk: Option<Arc<Disk>>,
        purges: Purges,
        slice: u64,
        upstream: Arc<dyn Upstream>,
    ) -> Self {
        let ledger = Arc::new(Ledger::default());
        Self {
            memory: Memory::new(memory, ledger.clone()),
            ledger,
            configured: memory,
            windows: Arc::default(),
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
    pub(super) fn new_id(&self, object: ObjectKey) -> BodyId {
        BodyId::of(object, self.ids.next())
    }

    /// What memory knows of an object.
    pub(crate) fn record_in_memory(&self, key: ObjectKey) -> Option<Arc<Record>> {
        match self.get(key.record()) {
            Some(Entry::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// What is known of an object, from memory or disk.
    pub(crate) async fn record(&self, key: ObjectKey) -> Option<Arc<Record>> {
        if let Some(record) = self.record_in_memory(key) {
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
            let entry = Entry::Record(record.clone());
            self.keep(key.record(), entry, Reason::Demand);
            return Some(record);
        }
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Changes what is known of an object. `known` is what a lookup found, should memory have
    /// forgotten it. False where the disk may be left with what was known before.
    pub(crate) fn update(
        &self,
        asked: &Asked,
        known: Option<&Arc<Record>>,
        change: impl FnOnce(&Record) -> Record,
    ) -> bool {
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
        let returned = self.keep(key, Entry::Record(next.clone()), Reason::Demand);
        match &self.disk {
            Some(disk) if returned || disk.failed() || disk.may_contain(key) => {
                disk.store(key, Entry::Record(next))
            }
            _ => true,
        }
    }

    /// Never uses a response again.
    pub(crate) fn void(&self, asked: &Asked, stored: &Stored) {
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
    pub(super) fn put_slice(&self, id: BodyId, n: u32, bytes: Bytes, reason: Reason) {
        let key = id.slice(n);
        let returned = self.keep(key, Entry::Slice(bytes.clone()), reason);
        if let Some(disk) = self.disk.as_ref().filter(|_| returned) {
            disk.store(key, Entry::Slice(bytes));
        }
    }

    /// Keeps an entry in memory. What was used and has to go for it moves to the disk, if it isn't
    /// there. True where the entry has been here lately.
    pub(super) fn keep(&self, key: EntryKey, entry: Entry, reason: Reason) -> bool {
        if reason == Reason::Prefetch {
            self.counters
                .prefetched
                .fetch_add(entry.weight(), Ordering::Relaxed);
        }
        let inserted = self.memory.insert(key, entry, reason);
        if let Some(disk) = &self.disk {
            for (key, entry) in inserted.demoted {
                if !disk.may_contain(key) {
                    disk.store(key, entry);
                }
            }
        }
        inserted.returned
    }

    /// Lets memory go of what is over what it may hold.
    pub(crate) fn trim(&self) {
        for (key, entry) in self.memory.trim() {
            if let Some(disk) = self.disk.as_ref().filter(|disk| !disk.may_contain(key)) {
                disk.store(key, entry);
            }
        }
    }

    /// Bytes that the memory tier holds, and that it may hold now.
    pub(crate) fn tier_and_room(&self) -> (u64, u64) {
        (self.memory.figures().bytes, self.memory.room())
    }

    /// Looks an entry up in memory; admits it to the disk on its first use.
    pub(super) fn get(&self, key: EntryKey) -> Option<Entry> {
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
        match self.start(asked, stored, at, last, Reason::Demand) {
            Started::Fill(fill) => Supply::Fill(Attached::to(fill, self.slice_number(at))),
            Started::Claimed(claim) => Supply::Fill(claim),
            Started::InMemory => Supply::InMemory,
            Started::Lost => Supply::Lost,
        }
    }

    /// The fill of [`Store::fill`], without a claim on it.
    fn start(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        stored: &Arc<Stored>,
        at: u64,
        last: u32,
        reason: Reason,
    ) -> Started {
        let n = self.slice_number(at);
        let mut fills = self.fills[stripe(stored.id.0)].lock();
        let running = fills.entry(stored.id).or_default();
        // A fill has left it here since the caller looked; it may still be bringing others.
        if self.memory.contains(stored.id.slice(n)) {
            if running.is_empty() {
                fills.remove(&stored.id);
            }
            return Started::InMemory;
        }
        if let Some(fill) = running
            .iter()
            .find(|fill| fill.covers(n) && fill.serves(at))
        {
            return Started::Fill(fill.clone());
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
            return Started::Lost;
        };
        let keep = self.keep_for(stored);
        let fill = Fill::new((n, end), u64::from(n) * self.slice, self.slice, keep);
        let fill = Arc::new(fill);
        // From before it begins, so that it doesn't run away from who has it begun.
        let claim = (reason == Reason::Demand).then(|| Attached::to(fill.clone(), n));
        running.push(fill.clone());
        tokio::spawn(super::fetch::fill_slices(
            self.clone(),
            asked.clone(),
            stored.clone(),
            fill.clone(),
        ));
        claim.map_or(Started::Fill(fill), Started::Claimed)
    }

    /// What a fill of a stored body keeps of what it has brought.
    pub(super) fn keep_for(&self, stored: &Stored) -> Keep {
        if stored.ranged {
            return Keep::Read;
        }
        let (most, least) = (self.configured / WINDOWS, WINDOW_SLICES * self.slice);
        let wanted = stored.size().unwrap_or(u64::MAX);
        Keep::Window(Window::lend(&self.windows, most, least, wanted))
    }

    /// Brings slices that nobody has asked for yet, and waits until they are here, or can't be had.
    /// Whoever asks meanwhile reads along.
    pub(super) async fn bring(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        stored: &Arc<Stored>,
        from: u32,
        to: u32,
    ) {
        let mut n = from;
        while n <= to {
            let at = u64::from(n) * self.slice;
            n += 1;
            let started = self.start(asked, stored, at, to, Reason::Prefetch);
            if let Started::Fill(fill) = started {
                n = n.max(fill.slices.1);
                fill.ended().await;
            }
        }
    }

    /// Fails where a slice is being brought by two fills.
    #[cfg(test)]
    pub(crate) fn assert_one_fill_a_slice(&self, seed: u64) {
        for fills in &self.fills {
            for (id, fills) in fills.lock().iter() {
                let mut left: Vec<(u32, u32)> = fills
                    .iter()
                    .map(|fill| {
                        let at = fill.arrived();
                        // A slice that it has only the end of isn't one that it brings.
                        let torso = !fill.start.is_multiple_of(self.slice);
                        let first = at.max(match torso {
                            true => fill.start.next_multiple_of(self.slice),
                            false => fill.start,
                        });
                        (self.slice_number(first), fill.slices.1)
                    })
                    .filter(|(first, end)| first < end)
                    .collect();
                left.sort_unstable();
                let twice = left.windows(2).find(|pair| pair[0].1 > pair[1].0);
                assert!(
                    twice.is_none(),
                    "seed {seed}: {id:?} is brought twice: {left:?}"
                );
            }
        }
    }

    /// Fetches under way.
    pub(super) fn fills_running(&self) -> u64 {
        self.counters.running.load(Ordering::Relaxed)
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
        let memory = self.memory.figures();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let disk = self.disk.as_deref().map(Disk::counters);
        CacheStats {
            memory_bytes: memory.bytes,
            memory_entries: memory.entries,
            memory_hits: memory.hits,
            disk_hits: disk.map_or(0, |d| read(&d.hits)),
            misses: read(&self.counters.misses),
            evictions: memory.evictions,
            disk_writes: disk.map_or(0, |d| read(&d.writes)),
            disk_corrupt: disk.map_or(0, |d| read(&d.corrupt)),
            disk_dropped: disk.map_or(0, |d| read(&d.dropped)),
            disk_faults: disk.map_or(0, |d| read(&d.faults)),
            disk_failed: u64::from(self.disk.as_ref().is_some_and(|disk| disk.failed())),
            prefetch_bytes: read(&self.counters.prefetched),
            prefetch_useful_bytes: memory.prefetch_useful,
            prefetch_wasted_bytes: memory.prefetch_wasted,
            fills: read(&self.counters.running),
            fills_total: read(&self.counters.fills),
            collapsed_total: read(&self.counters.collapsed),
            upstream_bytes: read(&self.counters.upstream_bytes),
        }
    }
}

/// As [`Supply`], before anybody claims it.
enum Started {
    Fill(Arc<Fill>),
    /// A new one, claimed for who has it begun.
    Claimed(Attached),
    InMemory,
    Lost,
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

/// Tells bodies of an object apart, also those of former runs, so that slices of different
/// responses never mix.
struct Ids {
    run: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        #[cfg(test)]
        if let Some(now) = crate::policy::virtual_clock::now() {
            // What a seed leads to must not depend on chance.
            let (run, next) = (now.0 << 20, AtomicU64::new(0));
            return Self { run, next };
        }
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        Self {
            run: RandomState::new().hash_one(nanos),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> u64 {
        let n = self
            .run
            .wrapping_add(self.next.fetch_add(1, Ordering::Relaxed));
        // Odd multiplier: a permutation that spreads neighbours over the stripes.
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
