//! Requests a client may send: a token bucket for each, in the form of a generic cell rate
//! algorithm, which keeps one number a client.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::client::Client;

/// Shards, so that clients rarely wait for each other.
const SHARDS: usize = 16;

/// Clients remembered in each of two generations of a shard: 131,072 in all. One that is forgotten
/// begins anew with a full bucket, which only helps who has more addresses than that.
const CLIENTS: usize = 4096;

/// Rates of all clients; off until [`Rates::set`].
pub(crate) struct Rates {
    born: Instant,
    /// Nanoseconds between two requests at the permitted rate; 0 is off.
    interval_ns: AtomicU64,
    /// Nanoseconds that a client may be ahead of its rate.
    burst_ns: AtomicU64,
    shards: [Mutex<Generations>; SHARDS],
    hasher: RandomState,
}

/// When each client's next request is due, in nanoseconds since `born`.
#[derive(Default)]
struct Generations {
    young: HashMap<Client, u64>,
    old: HashMap<Client, u64>,
}

impl Rates {
    /// Counts from `now` on.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            born: now,
            interval_ns: AtomicU64::new(0),
            burst_ns: AtomicU64::new(0),
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// Permits `per_second` requests a client, 0 for any number, and `burst` at once.
    pub(crate) fn set(&self, per_second: u32, burst: u32) {
        let interval = 1_000_000_000_u64
            .checked_div(per_second.into())
            .unwrap_or(0);
        let ahead = interval.saturating_mul(u64::from(burst.max(1)) - 1);
        self.burst_ns.store(ahead, Relaxed);
        self.interval_ns.store(interval, Relaxed);
    }

    /// Counts a request of that client.
    ///
    /// # Errors
    /// Where it is one too many: how long to wait.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let interval = self.interval_ns.load(Relaxed);
        if interval == 0 {
            return Ok(());
        }
        let now = now.saturating_duration_since(self.born).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let client = Client::from(address);
        let shard = self.hasher.hash_one(client) % SHARDS as u64;
        let mut shard = self.shards[usize::try_from(shard).unwrap_or(0)].lock();
        let due = shard.due(client).max(now);
        let ahead = due - now;
        let burst = self.burst_ns.load(Relaxed);
        if ahead > burst {
            return Err(Duration::from_nanos(ahead - burst));
        }
        shard.put(client, due.saturating_add(interval));
        Ok(())
    }
}

impl Generations {
    fn due(&self, client: Client) -> u64 {
        let known = self.young.get(&client).or_else(|| self.old.get(&client));
        known.copied().unwrap_or(0)
    }

    fn put(&mut self, client: Client, due: u64) {
        if self.young.len() >= CLIENTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client, due);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let begun = Instant::now();
        let rates = Rates::new(begun);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        for _ in 0..100 {
            assert_eq!(rates.take(a, at(0)), Ok(()));
        }
        rates.set(10, 3);
        for _ in 0..3 {
            assert_eq!(rates.take(a, at(0)), Ok(()));
        }
        assert_eq!(rates.take(a, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(rates.take(a, at(99)), Err(Duration::from_millis(1)));
        assert_eq!(rates.take(a, at(100)), Ok(()));
        assert!(rates.take(a, at(101)).is_err());
        // Refusals cost nothing; others have buckets of their own; silence fills up to the burst.
        assert_eq!(rates.take("192.0.2.2".parse().unwrap(), at(101)), Ok(()));
        let granted = (0..10)
            .filter(|_| rates.take(a, at(60_000)).is_ok())
            .count();
        assert_eq!(granted, 3);
        // One IPv6 client has a /64.
        let six = |n: u32| format!("2001:db8::{n:x}").parse().unwrap();
        let granted = (1..=10).filter(|n| rates.take(six(*n), at(0)).is_ok());
        assert_eq!(granted.count(), 3);
    }

    #[test]
    fn memory_is_bounded() {
        let rates = Rates::new(Instant::now());
        rates.set(1, 1);
        for n in 0..400_000_u32 {
            let _ = rates.take(IpAddr::from(n.to_be_bytes()), rates.born);
        }
        let held: usize = rates
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock();
                shard.young.len() + shard.old.len()
            })
            .sum();
        assert!(held <= 2 * SHARDS * CLIENTS, "{held}");
    }
}
