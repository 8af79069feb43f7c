//! Purges: sequence numbers that stored responses are held against at lookup.
//!
//! Every stored response remembers the sequence number that was current when it was asked for. A
//! purge takes the next number and notes it for its target; from then on responses with an earlier
//! number don't count. That is O(1), covers what is in flight, and needs nothing removed anywhere.
//! Purges are in a log, synced before they are acknowledged, and read back before serving.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use crate::{
    exchange::{Purge, PurgeMode},
    policy::UnixMs,
    serve::Error,
};

/// Targets remembered one by one; beyond, the older half is remembered as one purge of everything
/// that is as old.
const MAX_TARGETS: usize = 100_000;

/// A purge target of at most this many bytes.
pub(crate) const MAX_TARGET_BYTES: usize = 8192;

/// What purges say of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// Stale.
    Soft,
    /// Gone.
    Hard,
}

/// All purges so far.
pub(crate) struct Purges {
    sequence: AtomicU64,
    targets: RwLock<Targets>,
    log: Option<Arc<Mutex<File>>>,
}

#[derive(Default)]
struct Targets {
    hard: Sequences,
    soft: Sequences,
}

/// The number of the last purge of each target.
#[derive(Default)]
struct Sequences {
    all: u64,
    urls: HashMap<String, u64>,
    keys: HashMap<String, u64>,
    prefixes: HashMap<String, u64>,
    /// Lengths that occur among the prefixes, with how many have them: what a lookup tries.
    prefix_lengths: Vec<(usize, usize)>,
}

impl Purges {
    /// Reads the log of a state directory; without one, purges last as long as the process.
    ///
    /// # Errors
    /// [`Error::Disk`] where the log can't be read or written.
    pub(crate) fn open(directory: Option<&Path>, now: UnixMs) -> Result<Self, Error> {
        let mut targets = Targets::default();
        let mut last = 0;
        let log = match directory {
            None => None,
            Some(directory) => {
                let failed = |source: std::io::Error| Error::Disk {
                    what: "opening the purge log",
                    source: source.into(),
                };
                std::fs::create_dir_all(directory).map_err(failed)?;
                let path = directory.join("purges.log");
                let text = read_if_there(&path).map_err(failed)?;
                last = targets.read(&text, now);
                Some(Arc::new(Mutex::new(
                    rewrite(directory, &path, &targets).map_err(failed)?,
                )))
            }
        };
        // By the clock, so that a number used by a purge that never became durable isn't reused.
        let sequence = AtomicU64::new((now.0 * 1000).max(last + 1));
        Ok(Self {
            sequence,
            targets: RwLock::new(targets),
            log,
        })
    }

    /// The number for what is asked for now.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Holds a stored response against all purges.
    pub(crate) fn judge<'a>(
        &self,
        target: &str,
        keys: impl Fn() -> Box<dyn Iterator<Item = &'a str> + 'a>,
        sequence: u64,
    ) -> Verdict {
        let targets = self.targets.read();
        if targets.hard.hits(target, &keys, sequence) {
            Verdict::Hard
        } else if targets.soft.hits(target, &keys, sequence) {
            Verdict::Soft
        } else {
            Verdict::Keep
        }
    }

    /// Purges: in force at once, durable when it returns.
    ///
    /// # Errors
    /// [`Error::Disk`] where it could not be made durable; it is in force until a restart.
    pub(crate) async fn purge(&self, purge: Purge, mode: PurgeMode) -> Result<(), Error> {
        let sequence = {
            let mut targets = self.targets.write();
            let sequence = self.sequence.fetch_add(1, Ordering::AcqRel) + 1;
            targets.note(&purge, mode, sequence);
            sequence
        };
        let Some(log) = self.log.clone() else {
            return Ok(());
        };
        let line = line(sequence, &purge, mode);
        let written = tokio::task::spawn_blocking(move || {
            let mut log = log.lock();
            log.write_all(line.as_bytes())?;
            log.sync_data()
        });
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Disk {
            what: "writing the purge log",
            source,
        };
        written
            .await
            .map_err(|e| failed(e.into()))?
            .map_err(|e| failed(e.into()))
    }
}

/// A file's content; nothing where there is none.
fn read_if_there(path: &Path) -> std::io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Replaces the log by one that says the same without repetition, durably. Open for appending.
fn rewrite(directory: &Path, path: &Path, targets: &Targets) -> std::io::Result<File> {
    let new = directory.join("purges.new");
    let mut log = File::create(&new)?;
    log.write_all(targets.lines().as_bytes())?;
    log.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()?;
    OpenOptions::new().append(true).open(path)
}

impl Targets {
    /// Takes a log in and returns its last number. A damaged line may have been any purge: all that
    /// was stored until now goes with it. A torn last line was never acknowledged.
    fn read(&mut self, log: &[u8], now: UnixMs) -> u64 {
        let mut last = 0;
        let whole = log
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |end| end + 1);
        for line in log[..whole]
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
        {
            let (sequence, purge, mode) =
                parse_line(line).unwrap_or((now.0 * 1000, Purge::All, PurgeMode::Hard));
            last = last.max(sequence);
            self.note(&purge, mode, sequence);
        }
        last
    }

    /// The log that says the same.
    fn lines(&self) -> String {
        let mut log = String::new();
        for (mode, sequences) in [(PurgeMode::Hard, &self.hard), (PurgeMode::Soft, &self.soft)] {
            if sequences.all > 0 {
                log.push_str(&line(sequences.all, &Purge::All, mode));
            }
            for (targets, purge) in [
                (&sequences.urls, Purge::Url as fn(String) -> Purge),
                (&sequences.prefixes, Purge::Prefix),
                (&sequences.keys, Purge::SurrogateKey),
            ] {
                for (target, sequence) in targets.iter().filter(|(_, n)| **n > sequences.all) {
                    log.push_str(&line(*sequence, &purge(target.clone()), mode));
                }
            }
        }
        log
    }

    fn note(&mut self, purge: &Purge, mode: PurgeMode, sequence: u64) {
        let sequences = match mode {
            PurgeMode::Hard => &mut self.hard,
            PurgeMode::Soft => &mut self.soft,
        };
        match purge {
            Purge::All => sequences.all = sequences.all.max(sequence),
            Purge::Url(url) => {
                sequences.all = sequences.all.max(note(&mut sequences.urls, url, sequence))
            }
            Purge::SurrogateKey(key) => {
                sequences.all = sequences.all.max(note(&mut sequences.keys, key, sequence))
            }
            Purge::Prefix(prefix) => {
                sequences.all = sequences
                    .all
                    .max(note(&mut sequences.prefixes, prefix, sequence));
                let mut lengths: HashMap<usize, usize> = HashMap::new();
                for prefix in sequences.prefixes.keys() {
                    *lengths.entry(prefix.len()).or_default() += 1;
                }
                sequences.prefix_lengths = lengths.into_iter().collect();
            }
        }
    }
}

/// Notes a target's number. Where there are too many, forgets the older half and returns the last
/// number forgotten: everything up to it is purged as one.
fn note(targets: &mut HashMap<String, u64>, target: &str, sequence: u64) -> u64 {
    targets.insert(target.to_owned(), sequence);
    if targets.len() <= MAX_TARGETS {
        return 0;
    }
    let mut numbers: Vec<u64> = targets.values().copied().collect();
    let middle = numbers.len() / 2;
    let forgotten = *numbers.select_nth_unstable(middle).1;
    targets.retain(|_, number| *number > forgotten);
    forgotten
}

impl Sequences {
    fn hits<'a>(
        &self,
        target: &str,
        keys: &impl Fn() -> Box<dyn Iterator<Item = &'a str> + 'a>,
        sequence: u64,
    ) -> bool {
        if self.all > sequence {
            return true;
        }
        let after = |number: Option<&u64>| number.is_some_and(|n| *n > sequence);
        (!self.urls.is_empty() && after(self.urls.get(target)))
            || self.prefix_lengths.iter().any(|(length, _)| {
                target
                    .get(..*length)
                    .is_some_and(|p| after(self.prefixes.get(p)))
            })
            || (!self.keys.is_empty() && keys().any(|key| after(self.keys.get(key))))
    }
}

/// `sequence mode kind checksum target`, the target last since it may contain spaces.
fn line(sequence: u64, purge: &Purge, mode: PurgeMode) -> String {
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
    let body = format!(
        "{sequence} {mode} {kind} {}",
        target.replace(['\n', '\r'], "")
    );
    format!(
        "{:016x} {body}\n",
        twox_hash::XxHash64::oneshot(0, body.as_bytes())
    )
}

fn parse_line(line: &[u8]) -> Option<(u64, Purge, PurgeMode)> {
    let (sum, body) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if u64::from_str_radix(sum, 16).ok()? != twox_hash::XxHash64::oneshot(0, body.as_bytes()) {
        return None;
    }
    let mut parts = body.splitn(4, ' ');
    let sequence = parts.next()?.parse().ok()?;
    let mode = match parts.next()? {
        "soft" => PurgeMode::Soft,
        "hard" => PurgeMode::Hard,
        _ => return None,
    };
    let (kind, target) = (parts.next()?, parts.next()?.to_owned());
    let purge = match kind {
        "all" => Purge::All,
        "url" => Purge::Url(target),
        "prefix" => Purge::Prefix(target),
        "key" => Purge::SurrogateKey(target),
        _ => return None,
    };
    Some((sequence, purge, mode))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Purge, PurgeMode, Purges, UnixMs, Verdict, line, parse_line};

    fn judge(purges: &Purges, target: &str, key: &'static str, sequence: u64) -> Verdict {
        purges.judge(target, || Box::new(std::iter::once(key)), sequence)
    }

    #[tokio::test]
    async fn each_target_holds_across_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        for (purge, mode, expected) in [
            (
                Purge::Url("/a b?c".into()),
                PurgeMode::Hard,
                [Verdict::Hard, Verdict::Keep, Verdict::Keep],
            ),
            (
                Purge::Prefix("/a".into()),
                PurgeMode::Soft,
                [Verdict::Soft, Verdict::Keep, Verdict::Keep],
            ),
            (
                Purge::SurrogateKey("k1".into()),
                PurgeMode::Hard,
                [Verdict::Keep, Verdict::Hard, Verdict::Keep],
            ),
            (
                Purge::All,
                PurgeMode::Soft,
                [Verdict::Soft, Verdict::Soft, Verdict::Soft],
            ),
        ] {
            let purges = Purges::open(Some(directory.path()), UnixMs(0)).unwrap();
            let before = purges.sequence();
            purges.purge(purge.clone(), mode).await.unwrap();
            for purges in [
                &purges,
                &Purges::open(Some(directory.path()), UnixMs(0)).unwrap(),
            ] {
                let verdicts = [("/a b?c", "k0"), ("/b", "k1"), ("/b", "k0")]
                    .map(|(t, k)| judge(purges, t, k, before));
                assert_eq!(verdicts, expected, "{purge:?}");
                assert_eq!(
                    judge(purges, "/a b?c", "k1", purges.sequence()),
                    Verdict::Keep
                );
            }
            std::fs::remove_file(directory.path().join("purges.log")).unwrap();
        }
    }

    #[tokio::test]
    async fn a_damaged_line_purges_everything_and_a_torn_one_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Purges::open(Some(directory.path()), UnixMs::now()).unwrap();
        let purges = open();
        let before = purges.sequence();
        purges
            .purge(Purge::Url("/x".into()), PurgeMode::Hard)
            .await
            .unwrap();
        purges
            .purge(Purge::Url("/y".into()), PurgeMode::Hard)
            .await
            .unwrap();
        let log = directory.path().join("purges.log");
        let mut text = std::fs::read(&log).unwrap();
        text.truncate(text.len() - 2);
        std::fs::write(&log, &text).unwrap();
        assert_eq!(judge(&open(), "/x", "k", before), Verdict::Hard);
        assert_eq!(judge(&open(), "/z", "k", before), Verdict::Keep);
        text[20] ^= 1;
        std::fs::write(&log, &text).unwrap();
        assert_eq!(judge(&open(), "/z", "k", before), Verdict::Hard);
    }

    #[test]
    fn a_damaged_line_is_not_parsed() {
        let whole = line(7, &Purge::Url("/x".into()), PurgeMode::Hard);
        assert!(parse_line(whole.trim_end().as_bytes()).is_some());
        for cut in 0..whole.len() - 1 {
            assert!(parse_line(&whole.as_bytes()[..cut]).is_none());
        }
    }
}
