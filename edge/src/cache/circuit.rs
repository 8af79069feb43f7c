//! When to give up on a disk, and when to try it again. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// Faults one after another until the disk counts as failed.
const STRIKES: u32 = 3;

/// From giving up to the first attempt to open again; doubles with every attempt in vain.
const RETRY: (Duration, Duration) = match cfg!(test) {
    false => (Duration::from_secs(10), Duration::from_secs(300)),
    true => (Duration::from_millis(50), Duration::from_millis(500)),
};

/// What a disk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It read something.
    Read,
    /// It wrote something.
    Written,
    /// It failed to read, or took too long.
    ReadFault,
    /// It failed to write, or took too long.
    WriteFault,
}

/// The circuit breaker of the disk tier.
#[derive(Debug)]
pub(crate) struct Circuit {
    reads: u32,
    writes: u32,
    /// Since when the disk is given up on, and until when it is left alone.
    open: Option<Instant>,
    patience: Duration,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            reads: 0,
            writes: 0,
            open: None,
            patience: RETRY.0,
        }
    }
}

impl Circuit {
    /// Notes what the disk did; true where that is the last straw. A disk that still reads may be
    /// full, so reads don't excuse writes.
    pub(crate) fn note(&mut self, event: Event, now: Instant) -> bool {
        match event {
            Event::Read => self.reads = 0,
            Event::Written => (self.writes, self.patience) = (0, RETRY.0),
            Event::ReadFault => self.reads += 1,
            Event::WriteFault => self.writes += 1,
        }
        if self.open.is_some() || self.reads.max(self.writes) < STRIKES {
            return false;
        }
        self.trip(now);
        true
    }

    /// Until when the disk is left alone; none while it works.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        self.open
    }

    /// The disk could be opened again: it has another three strikes.
    pub(crate) fn reset(&mut self) {
        (self.reads, self.writes, self.open) = (0, 0, None);
    }

    /// The disk could not be opened again.
    pub(crate) fn trip(&mut self, now: Instant) {
        self.open = Some(now + self.patience);
        self.patience = (self.patience * 2).min(RETRY.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_faults_in_a_row_open_it_and_patience_grows_until_a_write_succeeds() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for event in [
            Event::WriteFault,
            Event::WriteFault,
            Event::Written,
            Event::WriteFault,
            Event::Read,
            Event::WriteFault,
        ] {
            assert!(!circuit.note(event, now), "{event:?}");
        }
        assert!(circuit.note(Event::WriteFault, now));
        assert_eq!(circuit.open_until(), Some(now + RETRY.0));
        assert!(!circuit.note(Event::WriteFault, now), "opened once");
        circuit.reset();
        for n in 0..3 {
            assert_eq!(circuit.note(Event::ReadFault, now), n == 2);
        }
        assert_eq!(circuit.open_until(), Some(now + RETRY.0 * 2));
        circuit.reset();
        circuit.note(Event::Written, now);
        (0..3).for_each(|_| {
            circuit.note(Event::WriteFault, now);
        });
        assert_eq!(circuit.open_until(), Some(now + RETRY.0));
    }
}
