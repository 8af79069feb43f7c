//! Purges: sequence numbers that stored responses are held against at lookup.
//!
//! Every stored response remembers the sequence number that was current when it was asked for. A
//! purge takes the next number and notes it for its target; from then on responses with an earlier
//! number don't count. That is O(1), covers what is in flight, and needs nothing removed anywhere.
//! Purges are in a [`log`], synced before they are acknowledged, and read back before serving.

mod log;

use std::{
    collections::HashMap,
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

/// Targets of a kind remembered one by one; beyond, the older half is remembered as one purge of
/// everything that is as old.
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
    /// The number of the last purge.
    sequence: AtomicU64,
    targets: Arc<RwLock<Targets>>,
    log: Option<Arc<Mutex<log::Log>>>,
}

/// What was purged.
#[derive(Clone, Default)]
struct Targets {
    /// The number this run's purges come after.
    start: u64,
    hard: Sequences,
    soft: Sequences,
}

/// The number of the last purge of each target.
#[derive(Clone, Default)]
struct Sequences {
    all: u64,
    urls: HashMap<String, u64>,
    keys: HashMap<String, u64>,
    prefixes: HashMap<String, u64>,
    /// Lengths that occur among the prefixes, with how many have them: what a lookup tries.
    prefix_lengths: HashMap<usize, usize>,
}

impl Purges {
    /// Reads the log of a state directory; without one, purges last as long as the process.
    ///
    /// # Errors
    /// [`Error::Disk`] where the log can't be read or written.
    pub(crate) fn open(directory: Option<&Path>, now: UnixMs) -> Result<Self, Error> {
        let mut targets = Targets::default();
        let (log, start) = match directory {
            None => (None, now.0 * 1000),
            Some(directory) => {
                let opened = log::Log::open(directory, &mut targets, now);
                let (log, start) = opened.map_err(|source| Error::Disk {
                    what: "opening the purge log",
                    source: source.into(),
                })?;
                (Some(Arc::new(Mutex::new(log))), start)
            }
        };
        Ok(Self {
            sequence: AtomicU64::new(start),
            targets: Arc::new(RwLock::new(targets)),
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
        if sequence >= self.sequence() {
            // Asked for after the last purge: the common case, and no lock.
            return Verdict::Keep;
        }
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
        let sequence = self.note(&purge, mode);
        let Some(log) = self.log.clone() else {
            return Ok(());
        };
        let line = log::line(sequence, &purge, mode);
        let targets = self.targets.clone();
        let written = tokio::task::spawn_blocking(move || {
            log.lock().append(&line, || targets.read().clone())
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

    /// What a restart makes of it.
    #[cfg(test)]
    pub(crate) fn restarted(&self) -> Self {
        Self {
            sequence: AtomicU64::new(self.sequence() + 1),
            targets: Arc::new(RwLock::new(self.targets.read().clone())),
            log: None,
        }
    }

    /// Purges until the next restart, without waiting for a disk.
    pub(crate) fn note(&self, purge: &Purge, mode: PurgeMode) -> u64 {
        let mut targets = self.targets.write();
        // Noted before the number is current, so that whoever sees the number sees the purge.
        let sequence = self.sequence.load(Ordering::Acquire) + 1;
        targets.note(purge, mode, sequence);
        self.sequence.store(sequence, Ordering::Release);
        sequence
    }
}

impl Targets {
    fn note(&mut self, purge: &Purge, mode: PurgeMode, sequence: u64) {
        let sequences = match mode {
            PurgeMode::Hard => &mut self.hard,
            PurgeMode::Soft => &mut self.soft,
        };
        let forgotten = match purge {
            Purge::All => sequence,
            Purge::Url(url) => note(&mut sequences.urls, url, sequence),
            Purge::SurrogateKey(key) => note(&mut sequences.keys, key, sequence),
            Purge::Prefix(prefix) => sequences.note_prefix(prefix, sequence),
        };
        if forgotten > sequences.all {
            sequences.all = forgotten;
            sequences.drop_pointless();
        }
    }
}

/// Notes a target's number. Where there are too many, returns the number up to which everything is
/// to be purged as one, so that the older half can be forgotten.
fn note(targets: &mut HashMap<String, u64>, target: &str, sequence: u64) -> u64 {
    targets.insert(target.to_owned(), sequence);
    if targets.len() <= MAX_TARGETS {
        return 0;
    }
    let mut numbers: Vec<u64> = targets.values().copied().collect();
    let middle = numbers.len() / 2;
    *numbers.select_nth_unstable(middle).1
}

impl Sequences {
    fn note_prefix(&mut self, prefix: &str, sequence: u64) -> u64 {
        if !self.prefixes.contains_key(prefix) {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
        note(&mut self.prefixes, prefix, sequence)
    }

    /// Forgets targets whose number a later purge of everything covers.
    fn drop_pointless(&mut self) {
        for targets in [&mut self.urls, &mut self.keys, &mut self.prefixes] {
            targets.retain(|_, number| *number > self.all);
        }
        self.prefix_lengths.clear();
        for prefix in self.prefixes.keys() {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
    }

    /// Every purge that still says something.
    fn purges(&self) -> impl Iterator<Item = (u64, Purge)> {
        let kinds = [
            (&self.urls, Purge::Url as fn(String) -> Purge),
            (&self.prefixes, Purge::Prefix),
            (&self.keys, Purge::SurrogateKey),
        ];
        let targets = kinds.into_iter().flat_map(|(targets, purge)| {
            let each = targets.iter();
            each.map(move |(target, number)| (*number, purge(target.clone())))
        });
        let all = (self.all > 0).then_some((self.all, Purge::All));
        all.into_iter().chain(targets)
    }

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
            || self.prefix_lengths.keys().any(|length| {
                target
                    .get(..*length)
                    .is_some_and(|p| after(self.prefixes.get(p)))
            })
            || (!self.keys.is_empty() && keys().any(|key| after(self.keys.get(key))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Purge, PurgeMode, Purges, UnixMs, Verdict};

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
        for url in ["/x", "/y"] {
            let url = Purge::Url(url.into());
            purges.purge(url, PurgeMode::Hard).await.unwrap();
        }
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

    #[tokio::test]
    async fn the_log_stays_small_while_running_and_forgets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Purges::open(Some(directory.path()), UnixMs::now()).unwrap();
        let purges = open();
        let before = purges.sequence();
        let target = |n: usize| format!("/target/{:07}", n % 300);
        for n in 0..10_000 {
            let purge = Purge::Prefix(target(n));
            purges.purge(purge, PurgeMode::Hard).await.unwrap();
        }
        let bytes = std::fs::metadata(directory.path().join("purges.log"))
            .unwrap()
            .len();
        assert!(bytes < 4500 * 80, "{bytes} bytes for 300 targets");
        let again = open();
        for n in 0..300 {
            assert_eq!(judge(&again, &target(n), "k", before), Verdict::Hard);
        }
        assert_eq!(judge(&again, "/other", "k", before), Verdict::Keep);
    }

    #[tokio::test]
    async fn a_clock_that_goes_back_keeps_purges_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let open = |now| Purges::open(Some(directory.path()), UnixMs(now)).unwrap();
        let stored = open(1_000_000).sequence();
        let purges = open(10);
        assert_eq!(judge(&purges, "/x", "k", stored), Verdict::Keep);
        purges.purge(Purge::All, PurgeMode::Hard).await.unwrap();
        assert_eq!(judge(&purges, "/x", "k", stored), Verdict::Hard);
    }

    #[test]
    fn too_many_targets_become_one_purge_of_all_that_is_as_old() {
        let purges = Purges::open(None, UnixMs(0)).unwrap();
        for n in 0..=super::MAX_TARGETS {
            purges.note(&Purge::Url(format!("/{n}")), PurgeMode::Hard);
        }
        assert!(purges.targets.read().hard.urls.len() <= super::MAX_TARGETS);
        assert_eq!(judge(&purges, "/7", "k", 0), Verdict::Hard);
        let last = purges.sequence() - 1;
        assert_eq!(judge(&purges, "/never-purged", "k", last), Verdict::Keep);
        let latest = format!("/{}", super::MAX_TARGETS);
        assert_eq!(judge(&purges, &latest, "k", last), Verdict::Hard);
    }
}
