//! Packets that were sent and are neither acknowledged nor lost

use std::{
    collections::VecDeque,
    ops::{Bound, RangeBounds},
};

use super::spaces::SentPacket;

/// Places kept where there are no packets
///
/// An idle connection should not hold what it needed for its largest burst.
const KEPT: usize = 64;

/// Packets by number
///
/// Numbers are given out in order and hardly any is skipped, packets go mostly in the order in
/// which they came, and what stays behind is lost soon. So a queue with a place for every number
/// from the first packet to the last finds, adds and removes a packet without a search.
#[derive(Default)]
pub(super) struct SentPackets {
    /// Number of the first place
    first: u64,
    /// Neither the first place nor the last is empty
    places: VecDeque<Option<SentPacket>>,
}

impl SentPackets {
    pub(super) fn get(&self, number: u64) -> Option<&SentPacket> {
        self.places.get(self.place(number)?)?.as_ref()
    }

    /// Adds a packet, whose number must be higher than all before
    pub(super) fn push(&mut self, number: u64, packet: SentPacket) {
        if self.places.is_empty() {
            self.first = number;
        }
        let skipped = number
            .checked_sub(self.first + self.places.len() as u64)
            .expect("packets are sent in the order of their numbers");
        self.places.extend((0..skipped).map(|_| None));
        self.places.push_back(Some(packet));
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<SentPacket> {
        let place = self.place(number)?;
        let packet = self.places.get_mut(place)?.take()?;
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        while let Some(None) = self.places.back() {
            self.places.pop_back();
        }
        if self.places.is_empty() && self.places.capacity() > KEPT {
            self.places = VecDeque::new();
        }
        Some(packet)
    }

    /// The packets in a range of numbers, in order
    pub(super) fn range(
        &self,
        numbers: impl RangeBounds<u64>,
    ) -> impl Iterator<Item = (u64, &SentPacket)> {
        let last = self.places.len() as u64;
        let from = match numbers.start_bound() {
            Bound::Included(&n) => n.saturating_sub(self.first),
            Bound::Excluded(&n) => n.saturating_add(1).saturating_sub(self.first),
            Bound::Unbounded => 0,
        };
        let to = match numbers.end_bound() {
            Bound::Included(&n) => n.saturating_add(1).saturating_sub(self.first),
            Bound::Excluded(&n) => n.saturating_sub(self.first),
            Bound::Unbounded => last,
        }
        .min(last);
        let from = from.min(to);
        self.places
            .range(from as usize..to as usize)
            .zip(self.first + from..)
            .filter_map(|(packet, number)| Some((number, packet.as_ref()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &SentPacket> {
        self.places.iter().flatten()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut SentPacket> {
        self.places.iter_mut().flatten()
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = SentPacket> {
        self.places.into_iter().flatten()
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::Instant;

    fn packet(size: u16, now: Instant) -> SentPacket {
        SentPacket {
            path_generation: 0,
            time_sent: now,
            size,
            ack_eliciting: true,
            largest_acked: None,
            retransmits: Default::default(),
            stream_frames: Default::default(),
        }
    }

    /// Whatever is pushed, removed and asked for, a map has the same
    #[test]
    fn like_a_map() {
        let now = Instant::now();
        let mut rng = rand_pcg::Pcg32::seed_from_u64(7);
        let (mut packets, mut map) = (SentPackets::default(), BTreeMap::new());
        let mut next = 3;
        for _ in 0..20_000 {
            if rng.random_range(0..3) > 0 && map.len() < 100 {
                let size = rng.random();
                packets.push(next, packet(size, now));
                map.insert(next, size);
                next += if rng.random_range(0..10) == 0 { 2 } else { 1 };
            } else {
                let number = next.saturating_sub(rng.random_range(0..150));
                let removed = packets.remove(number).map(|packet| packet.size);
                assert_eq!(removed, map.remove(&number));
            }
            let (a, b) = (rng.random_range(0..200), rng.random_range(0..200));
            let (a, b) = (next.saturating_sub(a), next.saturating_sub(b));
            assert_eq!(packets.get(a).map(|p| p.size), map.get(&a).copied());
            let (a, b) = (a.min(b), a.max(b));
            let found = packets.range(a..=b).map(|(n, p)| (n, p.size));
            assert!(found.eq(map.range(a..=b).map(|(n, s)| (*n, *s))));
            let found = packets.range((Bound::Excluded(a), Bound::Unbounded));
            let expected = map.range((Bound::Excluded(a), Bound::Unbounded));
            assert!(found.map(|(n, _)| n).eq(expected.map(|(n, _)| *n)));
            assert!(packets.values().map(|p| p.size).eq(map.values().copied()));
        }
    }
}
