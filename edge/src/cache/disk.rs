//! The disk tier: a [`Medium`] that may fail, behind operations that don't. Whatever goes wrong is a
//! miss; what goes wrong again and again leaves the edge with its memory alone until the disk can
//! be opened anew.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    blob::Blob,
    circuit::{Circuit, Event},
    key::EntryKey,
    medium::{Fault, Medium, Shelf},
    store::Entry,
};
use crate::serve::Error;

/// Entries queued for writing at most, and their bytes; more are dropped, since the disk can't
/// keep up. They are held beside the memory tier.
const QUEUE: usize = 1024;
const QUEUE_BYTES: usize = 8 << 20;

/// A read that takes longer is a fault: the upstream is asked instead.
const READ: Duration = Duration::from_secs(2);

/// A batch that takes longer to write is a fault.
const FLUSH: Duration = Duration::from_secs(30);

/// How long a failed disk may take to let go.
const LET_GO: Duration = Duration::from_secs(10);

/// Bytes that an entry is aligned to on disk.
const PAGE: usize = 4096;

/// The tier.
pub(crate) struct Disk {
    medium: ArcSwapOption<Open>,
    shelf: Box<dyn Shelf>,
    queue: mpsc::Sender<Order>,
    queued: AtomicUsize,
    circuit: Mutex<Circuit>,
    counters: Counters,
    /// Once closed it stays so: another process may have the files.
    closed: AtomicBool,
}

/// A sized handle on what is open.
struct Open(Arc<dyn Medium>);

/// Events since start.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) faults: AtomicU64,
}

enum Order {
    Write(EntryKey, Entry),
    Flush(oneshot::Sender<()>),
}

impl Disk {
    /// Opens the tier, taking up what is there.
    ///
    /// # Errors
    /// [`Error::Disk`] where the disk is unusable.
    pub(crate) async fn open(shelf: impl Shelf) -> Result<Arc<Self>, Error> {
        let medium = shelf.open().await.map_err(|fault| Error::Disk {
            what: "opening the disk cache",
            source: fault.0,
        })?;
        let (queue, orders) = mpsc::channel(QUEUE);
        let disk = Arc::new(Self {
            medium: ArcSwapOption::from_pointee(Open(medium)),
            shelf: Box::new(shelf),
            queue,
            queued: AtomicUsize::new(0),
            circuit: Mutex::default(),
            counters: Counters::default(),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(write(Arc::downgrade(&disk), orders));
        Ok(disk)
    }

    /// Whether an entry is probably there. Cheap; errs on the side of yes.
    pub(crate) fn may_contain(&self, key: EntryKey) -> bool {
        let open = self.medium.load();
        open.as_ref().is_some_and(|open| open.0.may_contain(key))
    }

    /// Whether the disk is given up on for now.
    pub(crate) fn failed(&self) -> bool {
        self.medium.load().is_none()
    }

    /// Reads an entry. None where it isn't there, or isn't what was written, or the disk fails.
    pub(crate) async fn load(self: &Arc<Self>, key: EntryKey) -> Option<Entry> {
        let medium = self.medium.load().as_ref().map(|open| open.0.clone())?;
        let read = match timeout(READ, medium.load(key)).await {
            Ok(read) => read,
            Err(late) => Err(Fault(late.into())),
        };
        let blob = match read {
            Ok(blob) => {
                self.note(Event::Read);
                blob?
            }
            Err(fault) => {
                tracing::warn!(%fault, "disk cache read failed");
                self.note(Event::ReadFault);
                return None;
            }
        };
        let entry = blob.open(key);
        let counter = match entry {
            Some(_) => &self.counters.hits,
            None => &self.counters.corrupt,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// Queues an entry for writing; drops it where the disk can't keep up, and says so.
    pub(crate) fn store(&self, key: EntryKey, entry: Entry) -> bool {
        let bytes = entry.bytes();
        let room = self.queued.fetch_add(bytes, Ordering::Relaxed) < QUEUE_BYTES;
        let taken = room && !self.failed() && self.queue.try_send(Order::Write(key, entry)).is_ok();
        if !taken {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Waits until what is queued is written, or lost.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Order::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }

    /// Writes what is queued and closes. What is stored afterwards is lost.
    ///
    /// # Errors
    /// [`Error::Disk`] where that failed.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::Relaxed);
        self.flush().await;
        let Some(open) = self.medium.swap(None) else {
            return Ok(());
        };
        open.0.close().await.map_err(|fault| Error::Disk {
            what: "closing the disk cache",
            source: fault.0,
        })
    }

    /// Events since start.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Notes what the disk did, and gives up on it if that is the last straw.
    fn note(self: &Arc<Self>, event: Event) {
        if matches!(event, Event::ReadFault | Event::WriteFault) {
            self.counters.faults.fetch_add(1, Ordering::Relaxed);
        }
        if !self.circuit.lock().note(event, Instant::now()) {
            return;
        }
        tracing::error!("the disk cache fails: going on with memory alone");
        if let Some(open) = self.medium.swap(None) {
            tokio::spawn(retry(Arc::downgrade(self), open));
        }
    }

    /// Writes a batch and looks what became of it.
    async fn write(self: &Arc<Self>, mut batch: Vec<(EntryKey, Entry)>) {
        let Some(medium) = self.medium.load().as_ref().map(|open| open.0.clone()) else {
            self.count_dropped(batch.len());
            return;
        };
        let mut oversize = 0;
        batch.retain(|(key, entry)| {
            let blob = Blob::of(*key, entry);
            let fits = blob.size() + 2 * PAGE <= medium.batch() / 2;
            if fits {
                medium.insert(*key, blob);
            } else {
                oversize += 1;
            }
            fits
        });
        self.count_dropped(oversize);
        let late = timeout(FLUSH, medium.flush()).await.is_err();
        let written = batch
            .iter()
            .filter(|(key, _)| medium.may_contain(*key))
            .count();
        let lost = batch.len() - written;
        self.counters
            .writes
            .fetch_add(written as u64, Ordering::Relaxed);
        self.count_dropped(lost);
        self.note(match late || lost > 0 {
            true => Event::WriteFault,
            false => Event::Written,
        });
    }

    fn count_dropped(&self, entries: usize) {
        self.counters
            .dropped
            .fetch_add(entries as u64, Ordering::Relaxed);
    }
}

/// Writes what is queued in batches that the medium takes whole. Ends with the tier.
async fn write(disk: Weak<Disk>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let Some(disk) = disk.upgrade() else { return };
        let most = disk.medium.load().as_ref().map_or(0, |open| open.0.batch());
        let (mut batch, mut bytes, mut waiting) = (Vec::new(), 0, None);
        let mut next = Some(order);
        while let Some(order) = next {
            match order {
                Order::Flush(done) => {
                    waiting = Some(done);
                    break;
                }
                Order::Write(key, entry) => {
                    let size = entry.bytes();
                    disk.queued.fetch_sub(size, Ordering::Relaxed);
                    bytes += (size + 2 * PAGE).next_multiple_of(PAGE);
                    batch.push((key, entry));
                }
            }
            // Half, so that the next entry fits as well, whatever its size.
            next = match bytes * 2 < most {
                true => orders.try_recv().ok(),
                false => None,
            };
        }
        if !batch.is_empty() {
            disk.write(batch).await;
        }
        if let Some(done) = waiting {
            let _ = done.send(());
        }
    }
}

/// Opens the disk anew when its time has come, as often as it takes. Ends with the tier.
async fn retry(disk: Weak<Disk>, failed: Arc<Open>) {
    let _ = timeout(LET_GO, failed.0.close()).await;
    drop(failed);
    loop {
        let until = match disk.upgrade() {
            Some(disk) => disk.circuit.lock().open_until(),
            None => return,
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
        let Some(disk) = disk.upgrade() else { return };
        if disk.closed.load(Ordering::Relaxed) {
            return;
        }
        match disk.shelf.open().await {
            Ok(medium) => {
                tracing::info!("the disk cache is open again");
                disk.circuit.lock().reset();
                disk.medium.store(Some(Arc::new(Open(medium))));
                return;
            }
            Err(fault) => {
                tracing::warn!(%fault, "the disk cache can't be opened again yet");
                disk.circuit.lock().trip(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        collections::HashMap,
        sync::atomic::{AtomicBool, Ordering::SeqCst},
    };

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;

    /// A disk in memory that can be full, or dead.
    #[derive(Clone, Default)]
    struct Fake {
        blobs: Arc<Mutex<HashMap<EntryKey, Blob>>>,
        full: Arc<AtomicBool>,
        dead: Arc<AtomicBool>,
    }

    #[async_trait]
    impl Shelf for Fake {
        async fn open(&self) -> Result<Arc<dyn Medium>, Fault> {
            match self.dead.load(SeqCst) {
                true => Err(Fault("dead".into())),
                false => Ok(Arc::new(self.clone())),
            }
        }
    }

    #[async_trait]
    impl Medium for Fake {
        fn may_contain(&self, key: EntryKey) -> bool {
            self.blobs.lock().contains_key(&key)
        }

        async fn load(&self, key: EntryKey) -> Result<Option<Blob>, Fault> {
            match self.dead.load(SeqCst) {
                true => Err(Fault("dead".into())),
                false => Ok(self.blobs.lock().get(&key).cloned()),
            }
        }

        fn insert(&self, key: EntryKey, blob: Blob) {
            if !self.full.load(SeqCst) && !self.dead.load(SeqCst) {
                self.blobs.lock().insert(key, blob);
            }
        }

        async fn flush(&self) {}

        async fn close(&self) -> Result<(), Fault> {
            Ok(())
        }

        fn batch(&self) -> usize {
            1 << 20
        }
    }

    fn key(n: u32) -> EntryKey {
        EntryKey { id: 7, part: n }
    }

    fn entry(n: usize) -> Entry {
        Entry::Slice(Bytes::from(vec![7; n]))
    }

    async fn write(disk: &Arc<Disk>, n: u32) -> bool {
        let taken = disk.store(key(n), entry(100));
        disk.flush().await;
        taken
    }

    async fn until(done: impl Fn() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never happened");
    }

    #[tokio::test]
    async fn a_full_disk_is_given_up_on_and_taken_up_again() {
        let fake = Fake::default();
        let disk = Disk::open(fake.clone()).await.unwrap();
        assert!(write(&disk, 0).await);
        assert!(disk.load(key(0)).await.is_some());
        fake.full.store(true, SeqCst);
        for n in 1..4 {
            assert!(!disk.failed());
            write(&disk, n).await;
        }
        assert!(disk.failed());
        assert!(disk.load(key(0)).await.is_none(), "a miss, not an error");
        assert!(!write(&disk, 5).await);
        let dropped = disk.counters().dropped.load(SeqCst);
        assert_eq!((dropped, disk.counters().faults.load(SeqCst)), (4, 3));
        fake.full.store(false, SeqCst);
        until(|| !disk.failed()).await;
        assert!(write(&disk, 6).await);
        assert!(disk.load(key(6)).await.is_some());
        assert!(disk.load(key(0)).await.is_some());
    }

    #[tokio::test]
    async fn a_disk_that_cannot_be_read_is_given_up_on_until_it_opens_again() {
        let fake = Fake::default();
        let disk = Disk::open(fake.clone()).await.unwrap();
        write(&disk, 0).await;
        fake.dead.store(true, SeqCst);
        for _ in 0..3 {
            assert!(disk.load(key(0)).await.is_none());
        }
        assert!(disk.failed());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(disk.failed(), "it can't be opened yet");
        fake.dead.store(false, SeqCst);
        until(|| !disk.failed()).await;
        assert!(disk.load(key(0)).await.is_some());
    }

    #[tokio::test]
    async fn what_the_disk_cannot_take_is_dropped_and_counted() {
        let disk = Disk::open(Fake::default()).await.unwrap();
        // Nothing is written before this test waits.
        let taken = (0..20)
            .filter(|n| disk.store(key(*n), entry(1 << 20)))
            .count();
        assert_eq!(taken, QUEUE_BYTES >> 20);
        let before = disk.counters().dropped.load(SeqCst);
        assert_eq!(before, 20 - taken as u64);
        disk.flush().await;
        // None of them fits into a batch of this disk.
        assert_eq!(disk.counters().dropped.load(SeqCst), 20);
        assert!(
            !disk.failed(),
            "its size is an entry's fault, not the disk's"
        );
    }
}
