//! Limits of the processes that decode and encode: one for each file, of this very program.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use clap::Args as ClapArgs;
use transcoder::isolate::{Bounds, Isolation, Launch};

/// The hidden command that such a process runs.
pub(crate) const COMMAND: &str = "file-process";

/// The running program, also where its file was replaced by an upgrade meanwhile.
const SELF: &str = "/proc/self/exe";

/// What a file may use up.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct FileLimits {
    /// Memory of the process that decodes and encodes a file.
    #[arg(long, env = "SEGUE_FILE_MEMORY", value_name = "SIZE", default_value = "1GiB", value_parser = edge::units::parse_size)]
    file_memory: u64,

    /// CPU time of that process; a quarter of a second comes on top for each second of sound that a
    /// file of that size can hold.
    #[arg(long, env = "SEGUE_FILE_CPU", value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    file_cpu: Duration,

    /// Longest time in which no sound comes of a file.
    #[arg(long, env = "SEGUE_FILE_STALL", value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    file_stall: Duration,

    /// Files from that size on are encoded a few renditions at a time, and an ingest that was stopped
    /// goes on with those that are missing.
    #[arg(long, env = "SEGUE_CHECKPOINT_FROM", value_name = "SIZE", default_value = "64MiB", value_parser = edge::units::parse_size)]
    pub(crate) checkpoint_from: u64,
}

impl FileLimits {
    /// A process for each file, with these limits.
    pub(crate) fn isolation(&self) -> Isolation {
        process(Bounds {
            memory: self.file_memory,
            cpu: self.file_cpu,
            stall: self.file_stall,
            ..Bounds::default()
        })
    }
}

/// A process for each file.
pub(crate) fn process(bounds: Bounds) -> Isolation {
    Isolation::Process(Arc::new(Launch {
        program: PathBuf::from(SELF),
        args: vec![OsString::from(COMMAND)],
        bounds,
    }))
}
