//! Counts of client connections, in all and by client, against their limits.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use crate::{
    cache::ledger::{Claim, Ledger},
    client::Client,
};

/// What an idle connection takes over TCP and over QUIC, bytes; `bench/run idle` measures it.
const TCP_MEMORY: u64 = 16 << 10;
pub(crate) const QUIC_MEMORY: u64 = 76 << 10;

/// Shared counts.
#[derive(Debug)]
pub(crate) struct Slots {
    max: AtomicUsize,
    max_per_client: AtomicUsize,
    counts: Mutex<Counts>,
    ledger: Arc<Ledger>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    clients: HashMap<Client, usize>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    client: Client,
    memory: Claim,
}

impl Slot {
    /// Notes how much memory its connection takes.
    pub(crate) fn takes(&mut self, bytes: u64) {
        self.memory.set(bytes);
    }
}

impl Slots {
    /// Empty counts under `max` connections and `max_per_client` of one client, whose memory is
    /// claimed of `ledger`.
    pub(crate) fn new(max: usize, max_per_client: usize, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            max: max.into(),
            max_per_client: max_per_client.into(),
            counts: Mutex::default(),
            ledger,
        })
    }

    /// Other limits from now on; connections that are open stay so.
    pub(crate) fn limit(&self, max: usize, max_per_client: usize) {
        self.max.store(max, Relaxed);
        self.max_per_client.store(max_per_client, Relaxed);
    }

    /// A place for a connection of that client, if there is one.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let client = Client::from(address);
        let mut counts = self.counts.lock();
        if counts.all >= self.max.load(Relaxed) {
            return None;
        }
        let of_client = counts.clients.entry(client).or_insert(0);
        if *of_client >= self.max_per_client.load(Relaxed) {
            return None;
        }
        *of_client += 1;
        counts.all += 1;
        drop(counts);
        Some(Slot {
            slots: Arc::clone(self),
            client,
            memory: self.ledger.claim(TCP_MEMORY),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.counts.lock();
        counts.all -= 1;
        if let Some(of_client) = counts.clients.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                counts.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let slots = Slots::new(3, 2, Arc::default());
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let first = slots.take(a).unwrap();
        let _second = slots.take(mapped).unwrap();
        assert!(slots.take(a).is_none());
        let same_64 = ["2001:db8::1", "2001:db8::2"].map(|ip| slots.take(ip.parse().unwrap()));
        assert!(same_64[0].is_some() && same_64[1].is_none());
        drop(first);
        assert!(slots.take(a).is_some());
        assert_eq!(slots.counts.lock().all, 2);
    }
}
