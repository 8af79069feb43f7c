//! HPACK's dynamic table as a decoder keeps it (RFC 7541 §2.3.2 and §4). Its size is what our
//! settings allow clients: RFC 9113's initial value.

use std::collections::VecDeque;

use super::static_table::LINES;
use crate::listen::field::Line;

/// Largest size, as the protocol counts it.
pub(super) const SIZE: usize = 4_096;

/// What the protocol counts for an entry beside its name and value.
const OVERHEAD: usize = 32;

/// An entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// None where it was no sound line: whoever refers to it is malformed as well.
    pub(super) line: Option<Line>,
    /// Bytes of the name.
    pub(super) name: usize,
    /// Bytes of the value.
    pub(super) value: usize,
}

impl Entry {
    /// Its size as the protocol counts it.
    pub(super) fn size(&self) -> usize {
        self.name + self.value + OVERHEAD
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    /// Newest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max: SIZE,
        }
    }
}

impl Table {
    /// The entry of an index over both tables (RFC 7541 §2.3.3).
    pub(super) fn get(&self, index: u64) -> Option<Entry> {
        let index = usize::try_from(index).ok()?.checked_sub(1)?;
        let Some(line) = LINES.get(index) else {
            return self.entries.get(index - LINES.len()).cloned();
        };
        let (name, value) = match line {
            Line::Pseudo(name, value) => (name.len(), value.len()),
            Line::Field(name, value) => (name.as_str().len(), value.len()),
        };
        Some(Entry {
            line: Some(line.clone()),
            name,
            value,
        })
    }

    /// Takes an entry in; older ones make room (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.shrink(self.max.saturating_sub(size));
        if size <= self.max {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    /// Changes the size; false where it is above what we allow.
    pub(super) fn resize(&mut self, max: u64) -> bool {
        let Some(max) = usize::try_from(max).ok().filter(|max| *max <= SIZE) else {
            return false;
        };
        self.max = max;
        self.shrink(max);
        true
    }

    fn shrink(&mut self, to: usize) {
        while self.size > to
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size();
        }
    }
}
