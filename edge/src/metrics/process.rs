//! What the kernel says of this process, under the names that Prometheus clients share.

use std::{fs, time::SystemTime};

use super::text::{Kind, Text};

/// Clock ticks a second in `/proc/PID/stat`: fixed at 100 in Linux's interface to user space.
const TICKS: f64 = 100.0;

/// Adds the process's families; those that the system doesn't tell are left out.
pub(super) fn render(out: &mut Text, started: SystemTime) {
    if let Some(seconds) = cpu_seconds() {
        out.single(
            "process_cpu_seconds_total",
            Kind::Counter,
            "User and system CPU time.",
            seconds,
        );
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, field, help) in [
        (
            "process_resident_memory_bytes",
            "VmRSS:",
            "Resident memory.",
        ),
        ("process_virtual_memory_bytes", "VmSize:", "Address space."),
    ] {
        if let Some(kib) = number(&status, field) {
            out.single(name, Kind::Gauge, help, kib * 1024);
        }
    }
    if let Some(threads) = number(&status, "Threads:") {
        out.single("process_threads", Kind::Gauge, "Threads.", threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The listing itself is one of them.
        let open = open.count().saturating_sub(1);
        out.single("process_open_fds", Kind::Gauge, "Open descriptors.", open);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(max) = number(&limits, "Max open files") {
        out.single(
            "process_max_fds",
            Kind::Gauge,
            "Descriptors that may be open.",
            max,
        );
    }
    if let Ok(since) = started.duration_since(SystemTime::UNIX_EPOCH) {
        out.single(
            "process_start_time_seconds",
            Kind::Gauge,
            "When the process started, Unix time.",
            since.as_secs_f64(),
        );
    }
}

/// Resident bytes; none where the system doesn't tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(number(&status, "VmRSS:")? * 1024)
}

/// The first number after a field's name.
fn number(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: fields 14 and 15, counted from behind the name, which may hold anything.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}
