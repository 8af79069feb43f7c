//! What the memory tier is held against.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::{Answered, listeners::Access};

/// First in, first out.
pub(crate) fn fifo(trace: &[Access], capacity: u64) -> Answered {
    let mut held = HashMap::new();
    let mut queue = VecDeque::new();
    let (mut answered, mut bytes) = (Answered::default(), 0);
    for access in trace {
        if held.contains_key(&access.slice()) {
            answered.count(access);
            continue;
        }
        held.insert(access.slice(), access.bytes);
        queue.push_back(access.slice());
        bytes += u64::from(access.bytes);
        while bytes > capacity
            && let Some(oldest) = queue.pop_front()
        {
            bytes -= held.remove(&oldest).map_or(0, u64::from);
        }
    }
    answered
}

/// Least recently used goes first.
pub(crate) fn lru(trace: &[Access], capacity: u64) -> Answered {
    keyed(trace, capacity, |now, _| now, Order::LowestGoes)
}

/// Belady's optimum: what is asked for again last, or never, goes first.
pub(crate) fn optimum(trace: &[Access], capacity: u64) -> Answered {
    let mut next = vec![usize::MAX; trace.len()];
    let mut seen = HashMap::new();
    for (at, access) in trace.iter().enumerate().rev() {
        next[at] = seen.insert(access.slice(), at).unwrap_or(usize::MAX);
    }
    keyed(trace, capacity, |now, _| next[now], Order::HighestGoes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    LowestGoes,
    HighestGoes,
}

/// A cache that evicts by a key that each use of an entry sets anew.
fn keyed(
    trace: &[Access],
    capacity: u64,
    key: impl Fn(usize, &Access) -> usize,
    order: Order,
) -> Answered {
    let mut held: HashMap<u64, (usize, u32)> = HashMap::new();
    let mut queue: BTreeSet<(usize, u64)> = BTreeSet::new();
    let (mut answered, mut bytes) = (Answered::default(), 0);
    for (now, access) in trace.iter().enumerate() {
        let slice = access.slice();
        match held.remove(&slice) {
            Some((key, _)) => {
                answered.count(access);
                queue.remove(&(key, slice));
            }
            None => bytes += u64::from(access.bytes),
        }
        let key = key(now, access);
        held.insert(slice, (key, access.bytes));
        queue.insert((key, slice));
        while bytes > capacity {
            let goes = match order {
                Order::LowestGoes => queue.pop_first(),
                Order::HighestGoes => queue.pop_last(),
            };
            let Some((_, slice)) = goes else { break };
            bytes -= held.remove(&slice).map_or(0, |(_, size)| u64::from(size));
        }
    }
    answered
}
