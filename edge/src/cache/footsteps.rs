//! Who has lately been where: for each slice, when it was last read, approximately.
//!
//! One word a place in a table without locks: whose step it was, and when. Places that fall together
//! overwrite each other; that costs an evicted slice now and then, never a wrong byte.

use std::{
    hash::BuildHasher as _,
    sync::atomic::{AtomicU64, Ordering},
};

use super::key::{EntryKey, Mixer};

/// Slices before one at which a listener counts as being on the way to it.
const AHEAD: u32 = 16;

/// Bytes of memory to one place in the table: some eight places to a slice of 256 KiB.
const BYTES_A_PLACE: u64 = 32 << 10;

/// The table.
pub(crate) struct Footsteps {
    /// The upper half of the hash of who trod there last, and when, in insertions into the memory
    /// tier.
    places: Box<[AtomicU64]>,
}

impl Footsteps {
    /// A table for a memory tier of `capacity` bytes: 1/4096 of it, within 8 KiB and 128 MiB.
    pub(crate) fn for_bytes(capacity: u64) -> Self {
        let count = (capacity / BYTES_A_PLACE).clamp(1 << 10, 1 << 24);
        let count = usize::try_from(count.next_power_of_two()).unwrap_or(1 << 10);
        Self {
            places: (0..count).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Bytes the table takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.places.len() as u64 * 8
    }

    /// Notes that the slice with that hash is read at `now`.
    pub(crate) fn tread(&self, hash: u64, now: u64) {
        let (place, step) = (self.place(hash), step(hash, now));
        // A hot slice is read far more often than the clock goes on: leave its line shared.
        if place.load(Ordering::Relaxed) != step {
            place.store(step, Ordering::Relaxed);
        }
    }

    /// Whether somebody was at most [`AHEAD`] slices before this one within the last `window`
    /// ticks, and nobody has been between since: whoever it was is still on the way.
    pub(crate) fn lead_to(&self, key: EntryKey, mixer: &Mixer, now: u64, window: u64) -> bool {
        if key.is_record() {
            return false;
        }
        let age = |part| {
            let hash = mixer.hash_one(EntryKey { part, ..key });
            let then = self.place(hash).load(Ordering::Relaxed);
            match then & WHO == hash & WHO {
                // A clock that has wrapped makes it look older or younger: no harm.
                true => now.wrapping_sub(then) & WHEN,
                false => WHEN,
            }
        };
        let mut youngest = age(key.part);
        for back in 1..=AHEAD.min(key.part) {
            let age = age(key.part - back);
            if age < youngest && age < window {
                return true;
            }
            youngest = youngest.min(age);
        }
        false
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        let n = usize::try_from(hash & WHEN).unwrap_or(0) & (self.places.len() - 1);
        &self.places[n]
    }
}

/// The halves of a place.
const WHO: u64 = !WHEN;
const WHEN: u64 = u32::MAX as u64;

fn step(hash: u64, now: u64) -> u64 {
    hash & WHO | now & WHEN
}
