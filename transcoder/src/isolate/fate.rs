//! How a process that worked on a file ended before it was done, in words for the file's owner.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use super::Bounds;

/// Why the process of a file ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fate {
    /// A decoder or encoder crashed on it.
    #[error("makes its decoder crash ({how})")]
    Crashed {
        /// The signal or exit code.
        how: String,
    },
    /// It wanted more memory than a file gets.
    #[error("needs more than {} MiB of memory to be worked on", limit >> 20)]
    Memory {
        /// The limit in bytes.
        limit: u64,
    },
    /// It used up its CPU time.
    #[error("takes more than {} s of CPU time", limit.as_secs())]
    Cpu {
        /// The limit.
        limit: Duration,
    },
    /// Nothing came of it for too long.
    #[error("keeps its decoder busy without any sound coming out for {} s", limit.as_secs())]
    Stalled {
        /// The limit.
        limit: Duration,
    },
    /// It took too long as a whole.
    #[error("takes longer than {} s", limit.as_secs())]
    Late {
        /// The limit.
        limit: Duration,
    },
    /// The process called what it has no business calling.
    #[error("makes its decoder do what no decoder does (a forbidden system call)")]
    Forbidden,
    /// It was killed from outside: by the system, out of memory, or by somebody.
    #[error("lost the process that worked on it, which somebody killed")]
    Killed,
    /// It broke the protocol.
    #[error("makes its decoder talk nonsense ({0})")]
    Nonsense(String),
    /// The process could not be started.
    #[error("can't be worked on, no process can be started for it: {0}")]
    NotStarted(String),
}

impl Fate {
    /// Of a process that ended by itself. `last_words` is what it wrote on standard error.
    pub(super) fn of(status: ExitStatus, last_words: &str, bounds: &Bounds, cpu: Duration) -> Fate {
        let memory = Fate::Memory {
            limit: bounds.memory,
        };
        match (status.signal(), status.code()) {
            // What Rust says where an allocation fails, before it aborts.
            _ if last_words.contains("memory allocation of ") => memory,
            (Some(libc::SIGXCPU), _) => Fate::Cpu { limit: cpu },
            (Some(libc::SIGSYS), _) => Fate::Forbidden,
            (Some(libc::SIGKILL), _) => Fate::Killed,
            (Some(signal), _) => Fate::Crashed { how: name(signal) },
            (None, code) => Fate::Crashed {
                how: format!("exit code {}", code.unwrap_or(-1)),
            },
        }
    }

    /// A stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Fate::Crashed { .. } => "crashed",
            Fate::Memory { .. } => "memory_limit",
            Fate::Cpu { .. } => "cpu_limit",
            Fate::Stalled { .. } => "stalled",
            Fate::Late { .. } => "time_limit",
            Fate::Forbidden => "forbidden_call",
            Fate::Killed => "killed",
            Fate::Nonsense(_) => "nonsense",
            Fate::NotStarted(_) => "not_started",
        }
    }

    /// Whether the fault was not the file's.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Fate::Killed | Fate::NotStarted(_) | Fate::Late { .. })
    }
}

fn name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTRAP => "SIGTRAP",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
