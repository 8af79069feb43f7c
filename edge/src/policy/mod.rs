//! RFC 9111 as pure functions of request, stored response and now. No I/O, no clock.

pub(crate) mod date;
pub(crate) mod directives;
pub(crate) mod fields;
pub(crate) mod freshness;
pub(crate) mod invalidate;
pub(crate) mod precondition;
pub(crate) mod reuse;
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
