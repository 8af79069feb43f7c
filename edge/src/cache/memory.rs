//! The memory tier: sharded, bounded in bytes, scan-resistant (S3-FIFO, SOSP '23).
//!
//! New entries enter a small queue; what is used again before it reaches that queue's end moves to
//! the main one, the rest leaves a ghost behind that lets it straight into the main queue if it
//! returns. A scan so passes through a tenth of the memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::key::EntryKey;

/// Bytes of memory that a shard should at least have: slices must not crowd each other out by
/// chance.
const SHARD_BYTES: u64 = 32 << 20;

/// Book-keeping an entry costs beside its value, bytes, roughly.
const OVERHEAD: u64 = 160;

/// What can be held.
pub(crate) trait Weigh {
    /// Bytes on the heap.
    fn weight(&self) -> u64;
}

/// The tier.
pub(crate) struct Memory<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    hasher: RandomState,
    hits: AtomicU64,
    evictions: AtomicU64,
}

/// A value found.
pub(crate) struct Hit<V> {
    /// The value.
    pub(crate) value: V,
    /// Whether this is the first use since it was inserted: time to admit it to the disk tier.
    pub(crate) first: bool,
}

impl<V: Weigh + Clone> Memory<V> {
    /// Holds at most `capacity` bytes, counting overhead.
    pub(crate) fn new(capacity: u64) -> Self {
        let count = (capacity / SHARD_BYTES).clamp(1, 64);
        let shards = (0..count)
            .map(|_| Mutex::new(Shard::new(capacity / count)))
            .collect();
        Self {
            shards,
            hasher: RandomState::new(),
            hits: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// Looks an entry up and counts the use.
    pub(crate) fn get(&self, key: EntryKey) -> Option<Hit<V>> {
        let hit = self.shard(key).lock().get(key);
        if hit.is_some() {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        hit
    }

    /// Looks an entry up without counting the use.
    pub(crate) fn peek(&self, key: EntryKey) -> Option<V> {
        let shard = self.shard(key).lock();
        shard
            .slot_of
            .get(&key)
            .and_then(|n| shard.slots[*n].value.clone())
    }

    /// Whether an entry is there; counts nothing.
    pub(crate) fn contains(&self, key: EntryKey) -> bool {
        self.shard(key).lock().slot_of.contains_key(&key)
    }

    /// Stores an entry, evicting others as needed. True where it has been here lately: it is worth
    /// the disk tier.
    pub(crate) fn insert(&self, key: EntryKey, value: V) -> bool {
        let fingerprint = self.hasher.hash_one(key);
        let (returned, evicted) = self
            .shard(key)
            .lock()
            .insert(key, fingerprint, value, |k| self.hasher.hash_one(k));
        self.evictions.fetch_add(evicted, Ordering::Relaxed);
        returned
    }

    /// Bytes and entries held.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.shards.iter().fold((0, 0), |(bytes, entries), shard| {
            let shard = shard.lock();
            (
                bytes + shard.small_bytes + shard.main_bytes,
                entries + shard.slot_of.len() as u64,
            )
        })
    }

    /// Lookups answered and entries evicted since start.
    pub(crate) fn counters(&self) -> (u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.evictions.load(Ordering::Relaxed),
        )
    }

    fn shard(&self, key: EntryKey) -> &Mutex<Shard<V>> {
        // The high half picks the shard: the table below uses the low bits of its own hash.
        let hash = self.hasher.hash_one(key) >> 32;
        let n = usize::try_from(hash).unwrap_or(0) % self.shards.len();
        &self.shards[n]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Small,
    Main,
}

struct Slot<V> {
    key: EntryKey,
    /// None once removed; the slot goes when its turn in the queue comes.
    value: Option<V>,
    weight: u64,
    /// Uses since insertion or since it was last spared, at most 3.
    uses: u8,
    queue: Queue,
}

struct Shard<V> {
    capacity: u64,
    slot_of: HashMap<EntryKey, usize>,
    slots: Vec<Slot<V>>,
    free: Vec<usize>,
    small: VecDeque<usize>,
    main: VecDeque<usize>,
    small_bytes: u64,
    main_bytes: u64,
    ghosts: VecDeque<u64>,
    is_ghost: HashSet<u64>,
}

impl<V: Weigh + Clone> Shard<V> {
    fn new(capacity: u64) -> Self {
        Self {
            capacity,
            slot_of: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            small_bytes: 0,
            main_bytes: 0,
            ghosts: VecDeque::new(),
            is_ghost: HashSet::new(),
        }
    }

    fn get(&mut self, key: EntryKey) -> Option<Hit<V>> {
        let slot = &mut self.slots[*self.slot_of.get(&key)?];
        let first = slot.uses == 0 && slot.queue == Queue::Small;
        slot.uses = (slot.uses + 1).min(3);
        slot.value.clone().map(|value| Hit { value, first })
    }

    fn insert(
        &mut self,
        key: EntryKey,
        print: u64,
        value: V,
        print_of: impl Fn(EntryKey) -> u64,
    ) -> (bool, u64) {
        let weight = value.weight() + OVERHEAD;
        if weight > self.capacity {
            self.remove(key);
            return (false, 0);
        }
        let mut returned = false;
        if let Some(&n) = self.slot_of.get(&key) {
            let slot = &mut self.slots[n];
            let (queue, old) = (slot.queue, slot.weight);
            slot.value = Some(value);
            slot.weight = weight;
            *self.bytes(queue) += weight;
            *self.bytes(queue) -= old;
        } else {
            returned = self.is_ghost.remove(&print);
            let queue = if returned { Queue::Main } else { Queue::Small };
            let slot = Slot {
                key,
                value: Some(value),
                weight,
                uses: 0,
                queue,
            };
            let n = self.free.pop().unwrap_or(self.slots.len());
            if n == self.slots.len() {
                self.slots.push(slot);
            } else {
                self.slots[n] = slot;
            }
            self.slot_of.insert(key, n);
            self.queue(queue).push_back(n);
            *self.bytes(queue) += weight;
        }
        let mut evicted = 0;
        while self.small_bytes + self.main_bytes > self.capacity {
            evicted += self.evict_one(&print_of);
        }
        (returned, evicted)
    }

    fn remove(&mut self, key: EntryKey) {
        if let Some(n) = self.slot_of.remove(&key) {
            let slot = &mut self.slots[n];
            let (queue, weight) = (slot.queue, slot.weight);
            slot.value = None;
            slot.weight = 0;
            *self.bytes(queue) -= weight;
        }
    }

    /// Takes one step at the end of a queue; 1 where it evicted an entry.
    fn evict_one(&mut self, print_of: &impl Fn(EntryKey) -> u64) -> u64 {
        let from_small = self.small_bytes * 10 > self.capacity || self.main.is_empty();
        let queue = if from_small && !self.small.is_empty() {
            Queue::Small
        } else {
            Queue::Main
        };
        let Some(n) = self.queue(queue).pop_front() else {
            // Unreachable while the byte counts are right; never loop if they aren't.
            (self.small_bytes, self.main_bytes) = (0, 0);
            return 0;
        };
        let slot = &mut self.slots[n];
        if slot.value.is_none() {
            self.free.push(n);
            return 0;
        }
        let (key, weight) = (slot.key, slot.weight);
        if slot.uses > 0 {
            slot.uses = if queue == Queue::Small {
                0
            } else {
                slot.uses - 1
            };
            slot.queue = Queue::Main;
            *self.bytes(queue) -= weight;
            self.main_bytes += weight;
            self.main.push_back(n);
            return 0;
        }
        slot.value = None;
        slot.weight = 0;
        *self.bytes(queue) -= weight;
        self.slot_of.remove(&key);
        self.free.push(n);
        if queue == Queue::Small {
            self.remember(print_of(key));
        }
        1
    }

    /// Keeps a ghost; as many as there are entries, at least 1,024.
    fn remember(&mut self, fingerprint: u64) {
        if self.is_ghost.insert(fingerprint) {
            self.ghosts.push_back(fingerprint);
        }
        while self.ghosts.len() > self.slot_of.len().max(1024) {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.is_ghost.remove(&oldest);
            }
        }
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<usize> {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn bytes(&mut self, queue: Queue) -> &mut u64 {
        match queue {
            Queue::Small => &mut self.small_bytes,
            Queue::Main => &mut self.main_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryKey, Memory, Weigh};

    impl Weigh for u64 {
        fn weight(&self) -> u64 {
            1000 - super::OVERHEAD
        }
    }

    fn key(id: u128) -> EntryKey {
        EntryKey { id, part: 0 }
    }

    #[test]
    fn a_scan_does_not_evict_what_is_used() {
        let memory = Memory::new(100_000);
        for n in 0..50 {
            memory.insert(key(n), 1);
            memory.get(key(n));
        }
        for n in 1000..5000 {
            memory.insert(key(n), 1);
        }
        let kept = (0..50).filter(|n| memory.contains(key(*n))).count();
        assert_eq!(kept, 50);
        assert!(memory.size().0 <= 100_000);
    }

    #[test]
    fn what_returns_soon_is_worth_the_disk() {
        let memory = Memory::new(10_000);
        assert!(!memory.insert(key(1), 1));
        for n in 2..30 {
            memory.insert(key(n), 1);
        }
        assert!(!memory.contains(key(1)));
        assert!(memory.insert(key(1), 1));
    }

    #[test]
    fn bytes_are_counted_through_replacement_and_eviction() {
        let memory = Memory::new(5_000);
        for _ in 0..100 {
            for n in 0..8 {
                memory.insert(key(n), 1);
                if n % 2 == 0 {
                    memory.get(key(n));
                }
            }
            let (bytes, entries) = memory.size();
            assert_eq!(bytes, entries * 1000);
            assert!(bytes <= 5_000);
        }
    }
}
