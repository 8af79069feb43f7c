//! RFC 9111 as pure functions of request, stored response and now. No I/O, no clock.

pub(crate) mod date;
pub(crate) mod directives;
pub(crate) mod fields;
pub(crate) mod freshness;
pub(crate) mod heuristic;
pub(crate) mod invalidate;
pub(crate) mod precondition;
pub(crate) mod reuse;
pub(crate) mod rules;
pub(crate) mod storable;
pub(crate) mod targeted;
pub(crate) mod validate;
pub(crate) mod vary;

/// Wall-clock time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct UnixMs(pub(crate) u64);

impl UnixMs {
    /// Now, by the system's clock. Only the outermost layer calls this.
    pub(crate) fn now() -> Self {
        #[cfg(test)]
        if let Some(now) = virtual_clock::now() {
            return now;
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Whole seconds since the epoch.
    pub(crate) fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds from `earlier` to this; 0 where `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A clock for simulations: it goes on when it is told to.
#[cfg(test)]
pub(crate) mod virtual_clock {
    use std::cell::Cell;

    use super::UnixMs;

    thread_local! {
        static MICROS: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// This thread's time is virtual from now on.
    pub(crate) fn start() {
        MICROS.set(Some(1_700_000_000_000_000));
    }

    /// This thread's time is the system's again.
    pub(crate) fn stop() {
        MICROS.set(None);
    }

    /// Lets time pass.
    pub(crate) fn advance_us(us: u64) {
        MICROS.set(MICROS.get().map(|now| now + us));
    }

    /// The time, where it is virtual.
    pub(crate) fn now() -> Option<UnixMs> {
        MICROS.get().map(|us| UnixMs(us / 1000))
    }
}
