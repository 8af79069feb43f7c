//! A bounded map of recently used values in two generations.
//!
//! A full young generation becomes the old one and the old one is dropped; a hit in the old one
//! moves the value back. That is close to least-recently-used, at constant cost a call.

use std::{collections::HashMap, hash::Hash, mem};

use parking_lot::Mutex;

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

/// Holds at most twice `half` values. Values are cheap to clone.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    generations: Mutex<Generations<K, V>>,
    half: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(half: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self {
            generations: Mutex::new(generations),
            half,
        }
    }

    /// The value of a key, made by `make` where there is none.
    pub(crate) fn get_or_insert(&self, key: &K, make: impl FnOnce() -> V) -> V {
        let mut g = self.generations.lock();
        if let Some(value) = g.young.get(key) {
            return value.clone();
        }
        let value = g.old.remove(key).unwrap_or_else(make);
        if g.young.len() >= self.half {
            g.old = mem::take(&mut g.young);
        }
        g.young.insert(key.clone(), value.clone());
        value
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut g = self.generations.lock();
        if let Some(value) = g.young.get(key) {
            return Some(value.clone());
        }
        let value = g.old.remove(key)?;
        if g.young.len() >= self.half {
            g.old = mem::take(&mut g.young);
        }
        g.young.insert(key.clone(), value.clone());
        Some(value)
    }

    pub(crate) fn remove(&self, key: &K) {
        let mut g = self.generations.lock();
        g.young.remove(key);
        g.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_stays_bounded() {
        let cache = Cache::new(4);
        for n in 0..1_000 {
            cache.get_or_insert(&n, || n);
            assert_eq!(cache.get(&0), Some(0), "0 is used all the time");
            let g = cache.generations.lock();
            assert!(g.young.len() + g.old.len() <= 8);
        }
        assert_eq!(cache.get(&500), None);
        cache.remove(&0);
        assert_eq!(cache.get(&0), None);
    }
}
