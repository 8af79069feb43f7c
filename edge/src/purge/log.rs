//! The log of purges: one line each, appended and synced before a purge is acknowledged, written
//! anew when most of it has become pointless.
//!
//! A line is `checksum sequence mode kind target`, the target last since it may contain spaces. A
//! damaged line may have been any purge: all that was stored until now goes with it. A torn last
//! line was never acknowledged.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::Targets;
use crate::{
    exchange::{Purge, PurgeMode},
    policy::UnixMs,
};

/// Lines that are appended at least before the log is written anew, and how many there may be for
/// one that still says something.
const LINES_MIN: usize = 4096;
const LINES_A_TARGET: usize = 4;

/// Numbers left out at a start: more than there can have been purges whose line was not written.
const START_GAP: u64 = 1_000_000;

/// The log, open for appending.
pub(super) struct Log {
    directory: PathBuf,
    file: File,
    /// Lines appended since it was written anew.
    appended: usize,
    /// Lines that it had then.
    lines: usize,
    /// Set where an append failed: the last line may be torn.
    torn: bool,
}

impl Log {
    /// Reads the log of a directory into `targets`, and returns the number that this run's purges
    /// come after: higher than any of a former run, even where the clock has gone back.
    ///
    /// # Errors
    /// Where it can't be read or written.
    pub(super) fn open(
        directory: &Path,
        targets: &mut Targets,
        now: UnixMs,
    ) -> io::Result<(Self, u64)> {
        std::fs::create_dir_all(directory)?;
        let text = match std::fs::read(path(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let last = read(&text, targets, now);
        let start = (now.0 * 1000).max(last + START_GAP);
        targets.start = start;
        let (file, lines) = rewrite(directory, targets)?;
        let log = Self {
            directory: directory.to_owned(),
            file,
            appended: 0,
            lines,
            torn: false,
        };
        Ok((log, start))
    }

    /// Appends a purge, durably. `targets` are called for where the log is due to be written anew;
    /// they must say that purge already.
    ///
    /// # Errors
    /// Where it is not durable. The next call then mends the log first.
    pub(super) fn append(
        &mut self,
        line: &str,
        targets: impl FnOnce() -> Targets,
    ) -> io::Result<()> {
        let due = self.appended >= LINES_MIN.max(self.lines * LINES_A_TARGET);
        if self.torn || due {
            (self.file, self.lines) = rewrite(&self.directory, &targets())?;
            (self.appended, self.torn) = (0, false);
            return Ok(());
        }
        self.torn = true;
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        (self.appended, self.torn) = (self.appended + 1, false);
        Ok(())
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("purges.log")
}

/// Replaces the log by one that says the same without repetition, durably. Open for appending;
/// and its number of lines.
fn rewrite(directory: &Path, targets: &Targets) -> io::Result<(File, usize)> {
    let new = directory.join("purges.new");
    let text = targets.lines();
    let mut log = File::create(&new)?;
    log.write_all(text.as_bytes())?;
    log.sync_all()?;
    std::fs::rename(&new, path(directory))?;
    File::open(directory)?.sync_all()?;
    let log = OpenOptions::new().append(true).open(path(directory))?;
    Ok((log, text.lines().count()))
}

/// Takes a log in and returns its last number.
fn read(log: &[u8], targets: &mut Targets, now: UnixMs) -> u64 {
    let mut last = 0;
    let whole = log
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |end| end + 1);
    let lines = log[..whole].split(|b| *b == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        let entry = parse(line).unwrap_or(Entry::Purge(now.0 * 1000, Purge::All, PurgeMode::Hard));
        last = last.max(match entry {
            Entry::Start(sequence) => sequence,
            Entry::Purge(sequence, purge, mode) => {
                targets.note(&purge, mode, sequence);
                sequence
            }
        });
    }
    last
}

impl Targets {
    /// The log that says the same.
    fn lines(&self) -> String {
        let mut log = sealed(&format!("{} - start ", self.start));
        for (mode, sequences) in [(PurgeMode::Hard, &self.hard), (PurgeMode::Soft, &self.soft)] {
            for (sequence, purge) in sequences.purges() {
                log.push_str(&line(sequence, &purge, mode));
            }
        }
        log
    }
}

/// What a line says.
#[derive(Debug)]
enum Entry {
    /// A run's numbers begin.
    Start(u64),
    /// A purge with its number.
    Purge(u64, Purge, PurgeMode),
}

/// The line of a purge.
pub(super) fn line(sequence: u64, purge: &Purge, mode: PurgeMode) -> String {
    let (kind, target) = match purge {
        Purge::All => ("all", ""),
        Purge::Url(url) => ("url", url.as_str()),
        Purge::Prefix(prefix) => ("prefix", prefix.as_str()),
        Purge::SurrogateKey(key) => ("key", key.as_str()),
    };
    let mode = match mode {
        PurgeMode::Soft => "soft",
        PurgeMode::Hard => "hard",
    };
    let target = target.replace(['\n', '\r'], "");
    sealed(&format!("{sequence} {mode} {kind} {target}"))
}

/// A line with its checksum.
fn sealed(body: &str) -> String {
    let sum = twox_hash::XxHash64::oneshot(0, body.as_bytes());
    format!("{sum:016x} {body}\n")
}

fn parse(line: &[u8]) -> Option<Entry> {
    let (sum, body) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if u64::from_str_radix(sum, 16).ok()? != twox_hash::XxHash64::oneshot(0, body.as_bytes()) {
        return None;
    }
    let mut parts = body.splitn(4, ' ');
    let sequence = parts.next()?.parse().ok()?;
    let (mode, kind, target) = (parts.next()?, parts.next()?, parts.next()?.to_owned());
    if kind == "start" {
        return Some(Entry::Start(sequence));
    }
    let mode = match mode {
        "soft" => PurgeMode::Soft,
        "hard" => PurgeMode::Hard,
        _ => return None,
    };
    let purge = match kind {
        "all" => Purge::All,
        "url" => Purge::Url(target),
        "prefix" => Purge::Prefix(target),
        "key" => Purge::SurrogateKey(target),
        _ => return None,
    };
    Some(Entry::Purge(sequence, purge, mode))
}

#[cfg(test)]
mod tests {
    use super::{Purge, PurgeMode, line, parse};

    #[test]
    fn a_damaged_line_is_not_parsed() {
        let whole = line(7, &Purge::Url("/x".into()), PurgeMode::Hard);
        assert!(parse(whole.trim_end().as_bytes()).is_some());
        for cut in 0..whole.len() - 1 {
            assert!(parse(&whole.as_bytes()[..cut]).is_none());
        }
    }
}
