//! What the process of a file may use up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The least that a second of sound takes in a file, in bytes: 8 kbit/s.
const LEAST_BYTES_A_SECOND: u64 = 1_000;

/// Address space that threads reserve without using it, in bytes a core.
pub(super) const A_CORE: u64 = 64 << 20;

/// Limits of a process that works on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Memory in bytes. Default 1 GiB. Enforced on address space, with 64 MiB on top for each core:
    /// a stereo ladder uses some 40 MiB, and allocators and stacks reserve ten times that.
    pub memory: u64,
    /// CPU time for any file. Default 5 min.
    pub cpu: Duration,
    /// CPU time on top, for each second of sound that a file of that size can hold. Default
    /// 250 ms: ten times what the ladder takes.
    pub cpu_per_second: Duration,
    /// Longest time without a sign of progress. Default 2 min.
    pub stall: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            memory: 1 << 30,
            cpu: Duration::from_secs(300),
            cpu_per_second: Duration::from_millis(250),
            stall: Duration::from_secs(120),
        }
    }
}

impl Bounds {
    /// CPU time for a file of so many bytes; at least a second, in whole seconds.
    pub(super) fn cpu_for(&self, bytes: u64) -> Duration {
        let seconds = u32::try_from(bytes / LEAST_BYTES_A_SECOND).unwrap_or(u32::MAX);
        let time = self
            .cpu
            .saturating_add(self.cpu_per_second.saturating_mul(seconds));
        Duration::from_secs(time.as_secs().max(1))
    }

    /// Time on the wall for a file that may take so much CPU time: a machine with other work to do
    /// gives it a quarter of a core.
    pub(super) fn wall_for(cpu: Duration) -> Duration {
        cpu.saturating_mul(4)
    }
}
