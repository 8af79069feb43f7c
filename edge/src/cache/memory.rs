//! The memory tier: sharded, bounded in bytes, resistant to scans, aware of listeners on their way.
//!
//! S3-FIFO (SOSP '23): new entries enter a small queue; what is used again before it reaches that
//! queue's end moves to the main one, the rest leaves a ghost behind that lets it straight into the
//! main queue if it returns. A scan so passes through a twentieth of the memory.
//!
//! Tracks are read in order, and that says more than any count: a slice that a listener is about
//! to reach is the best one to keep, however seldom its track is played. So what would be evicted
//! is spared while [`Footsteps`] show someone a few slices before it (interval caching, Dan and
//! Sitaram 1996). `bench/run cache` shows what both are worth: frequency sketches, longer ghost
//! lists and counters of more bits were tried there and brought nothing beyond them.
//!
//! Evicting what somebody still reads would free nothing. It waits, found and counted as ever, in a
//! third queue until it has been let go of. Where that queue has grown to half of the memory the tier
//! is crowded: readers are to take copies of little instead of whole slices.
//!
//! What it may hold is what the [`Ledger`] leaves of the configured memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    footsteps::Footsteps,
    key::{EntryKey, Mixer},
    ledger::Ledger,
};

/// Bytes of memory that a shard should at least have: slices must not crowd each other out by
/// chance.
const SHARD_BYTES: u64 = 32 << 20;

/// Book-keeping an entry costs beside its value, bytes: its slot, its place in the table and in a
/// queue, a ghost, each as large as growth by doubling makes it on average, and its allocation's
/// header.
const OVERHEAD: u64 = 288;

/// The small queue has one part in so many of the memory, but room for so many entries.
const SMALL: u64 = 20;
const SMALL_MIN: usize = 4;

/// Uses counted of an entry, and so rounds it may stay in the main queue without another.
const MAX_USES: u8 = 7;

/// Entries spared for a listener on the way, for one that comes in: bounds the work of an
/// insertion.
const SPARED: u32 = 16;

/// Entries looked at whether they have been let go of, for one that comes in.
const SWEPT: usize = 8;

/// What can be held.
pub(crate) trait Weigh {
    /// Bytes on the heap.
    fn weight(&self) -> u64;

    /// Whether somebody else has it too, so that dropping it frees nothing.
    fn is_held(&self) -> bool {
        false
    }
}

/// Why an entry comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Somebody wants it now.
    Demand,
    /// Somebody may want it soon. Until somebody does it is on probation: it never enters the main
    /// queue, leaves no ghost, and nothing is spared for it.
    Prefetch,
}

/// The tier.
pub(crate) struct Memory<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    mixer: Mixer,
    footsteps: Footsteps,
    /// Insertions so far: the clock of footsteps.
    clock: AtomicU64,
    /// Bytes it may hold where nothing else takes memory.
    capacity: u64,
    ledger: Arc<Ledger>,
    /// Bytes of what was to be evicted while somebody had it, in all shards.
    held: AtomicU64,
}

/// A value found.
pub(crate) struct Hit<V> {
    /// The value.
    pub(crate) value: V,
    /// Whether this is the first use since it was inserted: time to admit it to the disk tier.
    pub(crate) first: bool,
}

/// What an insertion led to.
pub(crate) struct Inserted<V> {
    /// Whether the entry had been here lately: it is worth the disk tier.
    pub(crate) returned: bool,
    /// What had to go though it had been used: worth the disk tier, should it not be there.
    pub(crate) demoted: Vec<(EntryKey, V)>,
}

/// Events since start, and what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Bytes held, with overhead.
    pub(crate) bytes: u64,
    /// Entries held.
    pub(crate) entries: u64,
    /// Lookups answered.
    pub(crate) hits: u64,
    /// Entries evicted.
    pub(crate) evictions: u64,
    /// Prefetched bytes that somebody used.
    pub(crate) prefetch_useful: u64,
    /// Prefetched bytes evicted before anybody did.
    pub(crate) prefetch_wasted: u64,
}

impl<V: Weigh + Clone> Memory<V> {
    /// Holds at most what `ledger` leaves of `capacity` bytes, counting overhead.
    pub(crate) fn new(capacity: u64, ledger: Arc<Ledger>) -> Self {
        Self::seeded(capacity, ledger, Mixer::random())
    }

    /// As [`Memory::new`], spreading entries over shards by `mixer`.
    pub(crate) fn seeded(capacity: u64, ledger: Arc<Ledger>, mixer: Mixer) -> Self {
        let footsteps = Footsteps::for_bytes(capacity);
        let capacity = capacity.saturating_sub(footsteps.bytes());
        let count = (capacity / SHARD_BYTES).clamp(1, 64);
        let shards = (0..count)
            .map(|_| Mutex::new(Shard::new(capacity / count, mixer)))
            .collect();
        Self {
            shards,
            mixer,
            footsteps,
            clock: AtomicU64::new(1),
            capacity,
            ledger,
            held: AtomicU64::new(0),
        }
    }

    /// Bytes it may hold now.
    pub(crate) fn room(&self) -> u64 {
        self.ledger.left_of(self.capacity)
    }

    /// Whether so much of it is held by readers that they are to hold less.
    pub(crate) fn is_crowded(&self) -> bool {
        // Far below: spares the hit path the division of what is left.
        let held = self.held.load(Ordering::Relaxed);
        held > self.capacity / 16 && held > self.room() / 2
    }

    /// Evicts what is over what it may hold by now, and what has been let go of. Returns what is
    /// worth the disk tier.
    pub(crate) fn trim(&self) -> Vec<(EntryKey, V)> {
        let room = self.room() / self.shards.len() as u64;
        let mut used = Vec::new();
        for shard in &self.shards {
            let mut gone = Gone::default();
            let mut shard = shard.lock();
            let before = shard.held.bytes;
            shard.sweep(usize::MAX, &mut gone);
            shard.make_room(room, 0, &|_, _| false, &mut gone);
            self.note_held(before, shard.held.bytes);
            drop(shard);
            used.append(&mut gone.used);
        }
        used
    }

    fn note_held(&self, before: u64, after: u64) {
        // Wraps to the same as a subtraction.
        if before != after {
            self.held
                .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Looks an entry up and counts the use.
    pub(crate) fn get(&self, key: EntryKey) -> Option<Hit<V>> {
        let hash = self.mixer.hash_one(key);
        self.footsteps
            .tread(hash, self.clock.load(Ordering::Relaxed));
        self.shard(hash).lock().get(key)
    }

    /// Looks an entry up without counting the use.
    pub(crate) fn peek(&self, key: EntryKey) -> Option<V> {
        let shard = self.shard(self.mixer.hash_one(key)).lock();
        let slot = *shard.slot_of.get(&key)?;
        shard.slots[slot].value.clone()
    }

    /// Whether an entry is there; counts nothing.
    pub(crate) fn contains(&self, key: EntryKey) -> bool {
        let shard = self.shard(self.mixer.hash_one(key)).lock();
        shard.slot_of.contains_key(&key)
    }

    /// Stores an entry, evicting others as needed.
    pub(crate) fn insert(&self, key: EntryKey, value: V, reason: Reason) -> Inserted<V> {
        let hash = self.mixer.hash_one(key);
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if reason == Reason::Demand {
            self.footsteps.tread(hash, now);
        }
        let followed = |key, entries: u64| {
            self.footsteps
                .lead_to(key, &self.mixer, now, entries * self.shards.len() as u64)
        };
        // What goes is freed after the lock: giving a slice back may take a system call.
        let mut gone = Gone::default();
        let capacity = self.room() / self.shards.len() as u64;
        let mut shard = self.shard(hash).lock();
        let before = shard.held.bytes;
        shard.capacity = capacity;
        let returned = shard.insert(key, value, reason, followed, &mut gone);
        self.note_held(before, shard.held.bytes);
        drop(shard);
        Inserted {
            returned,
            demoted: gone.used,
        }
    }

    /// What is held, and events since start.
    pub(crate) fn figures(&self) -> Figures {
        let mut sum = Figures {
            bytes: self.footsteps.bytes(),
            ..Figures::default()
        };
        for shard in &self.shards {
            let shard = shard.lock();
            sum.bytes += shard.bytes();
            sum.entries += shard.slot_of.len() as u64;
            sum.hits += shard.figures.hits;
            sum.evictions += shard.figures.evictions;
            sum.prefetch_useful += shard.figures.prefetch_useful;
            sum.prefetch_wasted += shard.figures.prefetch_wasted;
        }
        sum
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard<V>> {
        // The middle picks the shard: the table below uses both ends of the same hash.
        let n = usize::try_from((hash >> 24) & 0xffff).unwrap_or(0) % self.shards.len();
        &self.shards[n]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Small,
    Main,
    /// To be evicted once nobody else has it.
    Held,
}

struct Slot<V> {
    key: EntryKey,
    /// None once removed; the slot goes when its turn in the queue comes.
    value: Option<V>,
    weight: u64,
    /// Uses since insertion or since it was last spared, at most [`MAX_USES`].
    uses: u8,
    place: Place,
    /// Prefetched, and not yet used.
    on_probation: bool,
}

#[derive(Default)]
struct Queue {
    slots: VecDeque<usize>,
    bytes: u64,
}

/// What an insertion pushes out.
struct Gone<V> {
    used: Vec<(EntryKey, V)>,
    unused: Vec<V>,
}

impl<V> Default for Gone<V> {
    fn default() -> Self {
        Self {
            used: Vec::new(),
            unused: Vec::new(),
        }
    }
}

struct Shard<V> {
    capacity: u64,
    slot_of: HashMap<EntryKey, usize, Mixer>,
    slots: Vec<Slot<V>>,
    free: Vec<usize>,
    small: Queue,
    main: Queue,
    held: Queue,
    ghosts: VecDeque<u64>,
    is_ghost: HashSet<u64, Mixer>,
    mixer: Mixer,
    figures: Figures,
}

impl<V: Weigh + Clone> Shard<V> {
    fn new(capacity: u64, mixer: Mixer) -> Self {
        Self {
            capacity,
            slot_of: HashMap::with_hasher(mixer),
            slots: Vec::new(),
            free: Vec::new(),
            small: Queue::default(),
            main: Queue::default(),
            held: Queue::default(),
            ghosts: VecDeque::new(),
            is_ghost: HashSet::with_hasher(mixer),
            mixer,
            figures: Figures::default(),
        }
    }

    fn get(&mut self, key: EntryKey) -> Option<Hit<V>> {
        let slot = &mut self.slots[*self.slot_of.get(&key)?];
        self.figures.hits += 1;
        let mut first = false;
        if slot.on_probation {
            // As if it came in now: one listener's use is no sign that others will follow.
            slot.on_probation = false;
            self.figures.prefetch_useful += slot.weight - OVERHEAD;
        } else {
            first = slot.uses == 0 && slot.place == Place::Small;
            slot.uses = (slot.uses + 1).min(MAX_USES);
        }
        slot.value.clone().map(|value| Hit { value, first })
    }

    fn insert(
        &mut self,
        key: EntryKey,
        value: V,
        reason: Reason,
        followed: impl Fn(EntryKey, u64) -> bool,
        gone: &mut Gone<V>,
    ) -> bool {
        let weight = value.weight() + OVERHEAD;
        if weight > self.capacity {
            self.remove(key, gone);
            return false;
        }
        let mut returned = false;
        if let Some(&n) = self.slot_of.get(&key) {
            let slot = &mut self.slots[n];
            let (place, old) = (slot.place, slot.weight);
            gone.unused.extend(slot.value.replace(value));
            slot.weight = weight;
            slot.on_probation &= reason == Reason::Prefetch;
            let queue = self.queue(place);
            queue.bytes = queue.bytes + weight - old;
        } else {
            let on_probation = reason == Reason::Prefetch;
            returned = !on_probation && self.is_ghost.remove(&self.mixer.hash_one(key.lineage()));
            let place = if returned { Place::Main } else { Place::Small };
            let n = self.take_slot(Slot {
                key,
                value: Some(value),
                weight,
                uses: 0,
                place,
                on_probation,
            });
            self.slot_of.insert(key, n);
            self.queue(place).slots.push_back(n);
            self.queue(place).bytes += weight;
        }
        self.sweep(SWEPT, gone);
        self.make_room(self.capacity, SPARED, &followed, gone);
        if self.bytes() > self.capacity {
            // All that is left was held when it was looked at last.
            self.sweep(usize::MAX, gone);
        }
        returned
    }

    fn bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes + self.held.bytes
    }

    /// Evicts until no more than `room` bytes are left, or nothing that isn't held.
    fn make_room(
        &mut self,
        room: u64,
        mut sparing: u32,
        followed: &impl Fn(EntryKey, u64) -> bool,
        gone: &mut Gone<V>,
    ) {
        while self.bytes() > room && self.small.bytes + self.main.bytes > 0 {
            self.step(&mut sparing, followed, gone);
        }
    }

    /// Evicts what has been let go of, looking at so many entries.
    fn sweep(&mut self, most: usize, gone: &mut Gone<V>) {
        for _ in 0..most.min(self.held.slots.len()) {
            let Some(n) = self.held.slots.pop_front() else {
                return;
            };
            let slot = &mut self.slots[n];
            match &slot.value {
                None => self.free.push(n),
                Some(_) if slot.uses > 0 => {
                    // Others came for it meanwhile.
                    (slot.uses, slot.place) = (0, Place::Main);
                    self.held.bytes -= slot.weight;
                    self.main.bytes += slot.weight;
                    self.main.slots.push_back(n);
                }
                Some(value) if value.is_held() => self.held.slots.push_back(n),
                Some(_) => self.evict(n, gone),
            }
        }
    }

    fn take_slot(&mut self, slot: Slot<V>) -> usize {
        let n = self.free.pop().unwrap_or(self.slots.len());
        if n == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[n] = slot;
        }
        n
    }

    fn remove(&mut self, key: EntryKey, gone: &mut Gone<V>) {
        if let Some(n) = self.slot_of.remove(&key) {
            let slot = &mut self.slots[n];
            let (place, weight) = (slot.place, slot.weight);
            gone.unused.extend(slot.value.take());
            slot.weight = 0;
            self.queue(place).bytes -= weight;
        }
    }

    /// Takes one step at the end of a queue: evicts an entry, or lets it go on.
    fn step(
        &mut self,
        sparing: &mut u32,
        followed: &impl Fn(EntryKey, u64) -> bool,
        gone: &mut Gone<V>,
    ) {
        let crowded = self.small.bytes * SMALL > self.capacity;
        let from_small =
            crowded && self.small.slots.len() > SMALL_MIN || self.main.slots.is_empty();
        let place = if from_small && !self.small.slots.is_empty() {
            Place::Small
        } else {
            Place::Main
        };
        let Some(n) = self.queue(place).slots.pop_front() else {
            // Unreachable while the byte counts are right; never loop if they aren't.
            (self.small.bytes, self.main.bytes) = (0, 0);
            return;
        };
        let entries = self.slot_of.len() as u64;
        let slot = &mut self.slots[n];
        let Some(value) = &slot.value else {
            self.free.push(n);
            return;
        };
        let (key, weight, held) = (slot.key, slot.weight, value.is_held());
        let stays = if slot.uses > 0 {
            slot.uses = match place {
                Place::Small => 0,
                Place::Main | Place::Held => slot.uses - 1,
            };
            true
        } else if *sparing > 0 && !slot.on_probation && followed(key, entries) {
            *sparing -= 1;
            true
        } else {
            false
        };
        if stays {
            slot.place = Place::Main;
            self.queue(place).bytes -= weight;
            self.main.bytes += weight;
            self.main.slots.push_back(n);
        } else if held {
            slot.place = Place::Held;
            self.queue(place).bytes -= weight;
            self.held.bytes += weight;
            self.held.slots.push_back(n);
        } else {
            self.evict(n, gone);
        }
    }

    fn evict(&mut self, n: usize, gone: &mut Gone<V>) {
        let slot = &mut self.slots[n];
        let (key, place, weight) = (slot.key, slot.place, slot.weight);
        let on_probation = slot.on_probation;
        slot.weight = 0;
        let value = slot.value.take();
        match place {
            Place::Main => gone.used.extend(value.map(|value| (key, value))),
            Place::Small | Place::Held => gone.unused.extend(value),
        }
        self.queue(place).bytes -= weight;
        self.slot_of.remove(&key);
        self.free.push(n);
        self.figures.evictions += 1;
        if on_probation {
            self.figures.prefetch_wasted += weight - OVERHEAD;
        } else if place != Place::Main {
            self.remember(key);
        }
    }

    /// Keeps a ghost; as many as there are entries, at least 1,024.
    fn remember(&mut self, key: EntryKey) {
        let fingerprint = self.mixer.hash_one(key.lineage());
        if self.is_ghost.insert(fingerprint) {
            self.ghosts.push_back(fingerprint);
        }
        while self.ghosts.len() > self.slot_of.len().max(1024) {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.is_ghost.remove(&oldest);
            }
        }
    }

    fn queue(&mut self, place: Place) -> &mut Queue {
        match place {
            Place::Small => &mut self.small,
            Place::Main => &mut self.main,
            Place::Held => &mut self.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryKey, Memory, Mixer, Reason, Weigh};

    impl Weigh for u64 {
        fn weight(&self) -> u64 {
            *self - super::OVERHEAD
        }
    }

    const DEMAND: Reason = Reason::Demand;

    fn memory(entries: u64) -> Memory<u64> {
        // What footsteps take comes on top.
        let steps = super::Footsteps::for_bytes(entries * 1000).bytes();
        let ledger = Default::default();
        Memory::seeded(entries * 1000 + steps, ledger, Mixer::new([1, 2]))
    }

    fn key(id: u128) -> EntryKey {
        EntryKey {
            id: id << 64 | id,
            part: 0,
        }
    }

    #[test]
    fn a_scan_does_not_evict_what_is_used() {
        let memory = memory(100);
        for n in 0..50 {
            memory.insert(key(n), 1000, DEMAND);
            memory.get(key(n));
        }
        for n in 1000..5000 {
            memory.insert(key(n), 1000, DEMAND);
        }
        let kept = (0..50).filter(|n| memory.contains(key(*n))).count();
        assert_eq!(kept, 50);
    }

    #[test]
    fn what_returns_soon_is_worth_the_disk() {
        let memory = memory(10);
        assert!(!memory.insert(key(1), 1000, DEMAND).returned);
        for n in 2..30 {
            memory.insert(key(n), 1000, DEMAND);
        }
        assert!(!memory.contains(key(1)));
        // The same object under the identity of another fetch.
        let again = EntryKey {
            id: key(1).id + 1,
            part: 0,
        };
        assert!(memory.insert(again, 1000, DEMAND).returned);
    }

    #[test]
    fn what_was_used_is_handed_over_when_it_goes() {
        let memory = memory(10);
        memory.insert(key(1), 1000, DEMAND);
        memory.get(key(1));
        let mut demoted = Vec::new();
        for n in 2..200 {
            // All of them used, so that the first one's turn comes.
            demoted.extend(memory.insert(key(n), 1000, DEMAND).demoted);
            memory.get(key(n));
        }
        assert!(demoted.iter().any(|(gone, _)| *gone == key(1)));
    }

    #[test]
    fn bytes_are_counted_through_replacement_and_eviction() {
        let memory = memory(5);
        let steps = memory.footsteps.bytes();
        for _ in 0..100 {
            for n in 0..8 {
                memory.insert(key(n), 1000, DEMAND);
                if n % 2 == 0 {
                    memory.get(key(n));
                }
            }
            let figures = memory.figures();
            assert_eq!(figures.bytes - steps, figures.entries * 1000);
            assert!(figures.entries <= 5);
        }
    }

    #[test]
    fn what_a_listener_is_about_to_reach_stays() {
        let slice = |id: u128, part| EntryKey { id, part };
        // A track was read some time ago by one listener; another now is at its start.
        let kept = |follower: bool| {
            let memory = memory(100);
            for part in 0..8 {
                memory.insert(slice(7, part), 1000, DEMAND);
            }
            for n in 0..300 {
                if follower && n % 40 == 0 {
                    memory.get(slice(7, n / 40));
                }
                memory.insert(key(1000 + u128::from(n)), 1000, DEMAND);
            }
            memory.contains(slice(7, 7))
        };
        assert!(kept(true));
        assert!(!kept(false));
    }

    #[test]
    fn useless_prefetch_displaces_nothing_in_use() {
        let memory = memory(100);
        for n in 0..90 {
            memory.insert(key(n), 1000, DEMAND);
            memory.get(key(n));
        }
        for n in 1000..3000 {
            memory.insert(key(n), 1000, Reason::Prefetch);
        }
        let kept = (0..90).filter(|n| memory.contains(key(*n))).count();
        assert_eq!(kept, 90);
        let figures = memory.figures();
        assert_eq!(figures.prefetch_useful, 0);
        assert!(figures.prefetch_wasted >= 1_300_000, "{figures:?}");
        memory.insert(key(5000), 1000, Reason::Prefetch);
        assert!(!memory.get(key(5000)).unwrap().first);
        assert_eq!(memory.figures().prefetch_useful, 1000 - super::OVERHEAD);
    }

    /// Something that a reader may have as well.
    #[derive(Clone)]
    struct Shared(std::sync::Arc<()>);

    impl Weigh for Shared {
        fn weight(&self) -> u64 {
            1000 - super::OVERHEAD
        }

        fn is_held(&self) -> bool {
            std::sync::Arc::strong_count(&self.0) > 1
        }
    }

    #[test]
    fn what_is_read_is_evicted_only_once_it_is_let_go_of() {
        let ledger = std::sync::Arc::new(super::Ledger::default());
        let steps = super::Footsteps::for_bytes(20_000).bytes();
        let memory = Memory::seeded(20_000 + steps, ledger.clone(), Mixer::new([1, 2]));
        let new = || Shared(std::sync::Arc::new(()));
        let reading: Vec<_> = (0..12).map(|_| new()).collect();
        for (n, value) in reading.iter().enumerate() {
            memory.insert(key(n as u128), value.clone(), DEMAND);
        }
        assert!(!memory.is_crowded());
        for n in 100..200 {
            memory.insert(key(n), new(), DEMAND);
            assert!(memory.figures().bytes - steps <= 20_000);
        }
        assert!((0..12).all(|n| memory.contains(key(n))));
        assert!(memory.is_crowded());
        drop(reading);
        memory.trim();
        assert!(!memory.is_crowded());
        assert!(!(0..12).any(|n| memory.contains(key(n))));
        // All of them held: it is over what it may hold, but knows by how much.
        let reading: Vec<_> = (0..30).map(|_| new()).collect();
        for (n, value) in reading.iter().enumerate() {
            memory.insert(key(n as u128), value.clone(), DEMAND);
        }
        assert_eq!(memory.figures().bytes - steps, 30_000);
        drop(reading);
        memory.insert(key(1000), new(), DEMAND);
        memory.trim();
        assert!(memory.figures().bytes - steps <= 20_000);
        let claim = ledger.claim(15_000);
        memory.trim();
        assert!(memory.figures().bytes - steps <= 5_000 + steps);
        drop(claim);
    }
}
