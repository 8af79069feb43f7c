//! The disk tier: foyer behind four operations. Whatever goes wrong is a miss.
//!
//! Entries are never removed (foyer may bring a removed one back after a restart): what must not be
//! used any more is refused at lookup, by purge sequence and by body identity.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder as _, Error as FoyerError, ErrorKind, FsDeviceBuilder,
    HybridCache, HybridCacheBuilder, HybridCachePolicy, Load, PsyncIoEngineConfig, RecoverMode,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    key::EntryKey,
    record::{self, Record, VERSION},
    store::Entry,
};
use crate::serve::Error;

/// Bytes handed to foyer between two waits for its flush: half of the buffer that it drops writes
/// beyond.
const BATCH: u64 = 8 << 20;

/// Writes queued at most; more are dropped, since the disk can't keep up.
const QUEUE: usize = 256;

/// The tier.
pub(crate) struct Disk {
    cache: HybridCache<EntryKey, Blob>,
    queue: mpsc::Sender<Order>,
    counters: Arc<Counters>,
}

/// Events since start.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) corrupt: AtomicU64,
}

enum Order {
    Write(EntryKey, Entry),
    Flush(oneshot::Sender<()>),
}

impl Disk {
    /// Opens the tier in a directory, taking up what is there.
    ///
    /// # Errors
    /// [`Error::Disk`] where the directory is unusable.
    pub(crate) async fn open(directory: &Path, size: u64) -> Result<Self, Error> {
        let failed = |source: FoyerError| Error::Disk {
            what: "opening the disk cache",
            source: source.into(),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let block = (size / 16).clamp(1 << 20, 16 << 20) / 4096 * 4096;
        let device = FsDeviceBuilder::new(directory)
            .with_capacity(size)
            .build()
            .map_err(failed)?;
        let engine = BlockEngineConfig::new(device).with_block_size(block);
        let cache = HybridCacheBuilder::new()
            .with_name("segue")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(16)
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await
            .map_err(failed)?;
        let (queue, orders) = mpsc::channel(QUEUE);
        let counters = Arc::new(Counters::default());
        tokio::spawn(write(cache.clone(), orders, counters.clone()));
        Ok(Self {
            cache,
            queue,
            counters,
        })
    }

    /// Whether an entry is probably there. Cheap; errs on the side of yes.
    pub(crate) fn may_contain(&self, key: EntryKey) -> bool {
        self.cache.storage().may_contains(&key)
    }

    /// Reads an entry. None where it isn't there, or isn't what was written.
    pub(crate) async fn load(&self, key: EntryKey) -> Option<Entry> {
        let blob = match self.cache.storage().load(&key).await {
            Ok(Load::Entry { value, .. }) => value,
            Ok(Load::Piece { piece, .. }) => piece.value().clone(),
            Ok(Load::Miss | Load::Throttled) => return None,
            Err(error) => {
                tracing::warn!(%error, "disk cache read failed");
                return None;
            }
        };
        let entry = blob.open(key);
        let counter = if entry.is_some() {
            &self.counters.hits
        } else {
            &self.counters.corrupt
        };
        counter.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// Queues an entry for writing; drops it where the disk can't keep up.
    pub(crate) fn store(&self, key: EntryKey, entry: Entry) {
        if self.queue.try_send(Order::Write(key, entry)).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is queued and closes. What is stored afterwards is lost.
    ///
    /// # Errors
    /// [`Error::Disk`] where foyer could not flush.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Order::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
        self.cache.close().await.map_err(|source| Error::Disk {
            what: "closing the disk cache",
            source: source.into(),
        })
    }

    /// Events since start.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Writes entries one batch after another, so that foyer never drops any.
async fn write(
    cache: HybridCache<EntryKey, Blob>,
    mut orders: mpsc::Receiver<Order>,
    counters: Arc<Counters>,
) {
    let mut pending = 0;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Write(key, entry) => {
                let blob = Blob::of(key, &entry);
                pending += blob.bytes.len() as u64;
                cache.storage_writer(key).force().insert(blob);
                counters.writes.fetch_add(1, Ordering::Relaxed);
            }
            Order::Flush(done) => {
                cache.storage().wait().await;
                pending = 0;
                let _ = done.send(());
            }
        }
        if pending >= BATCH {
            cache.storage().wait().await;
            pending = 0;
        }
    }
}

/// An entry as it lies on disk: version, kind, key, checksum of the payload, payload. A new field
/// is a new [`VERSION`].
#[derive(Clone, Debug)]
struct Blob {
    version: u8,
    kind: u8,
    key: EntryKey,
    checksum: u64,
    bytes: Bytes,
}

const KIND_RECORD: u8 = 0;
const KIND_SLICE: u8 = 1;
/// Version, kind, key, checksum, payload length.
const HEADER: usize = 2 + EntryKey::ENCODED + 8 + 8;
/// No payload is larger: guards the allocation against a damaged length.
const MAX_PAYLOAD: u64 = 16 << 20;

impl Blob {
    fn of(key: EntryKey, entry: &Entry) -> Self {
        let (kind, bytes) = match entry {
            Entry::Record(record) => (KIND_RECORD, Bytes::from(record::encode(record))),
            Entry::Slice(bytes) => (KIND_SLICE, bytes.clone()),
        };
        Self {
            version: VERSION,
            kind,
            key,
            checksum: checksum(&bytes),
            bytes,
        }
    }

    /// The entry, if this is a sound one of that key.
    fn open(self, key: EntryKey) -> Option<Entry> {
        if self.version != VERSION || self.key != key || self.checksum != checksum(&self.bytes) {
            return None;
        }
        match self.kind {
            KIND_RECORD => {
                record::decode(&self.bytes).map(|record: Record| Entry::Record(Arc::new(record)))
            }
            KIND_SLICE => Some(Entry::Slice(self.bytes)),
            _ => None,
        }
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    // Another seed than foyer's own, over other bytes.
    twox_hash::XxHash64::oneshot(0x5e_91_ce, bytes)
}

impl Code for Blob {
    fn encode(&self, writer: &mut impl std::io::Write) -> Result<(), FoyerError> {
        let mut header = [0; HEADER];
        header[0] = self.version;
        header[1] = self.kind;
        header[2..22].copy_from_slice(&self.key.encode());
        header[22..30].copy_from_slice(&self.checksum.to_le_bytes());
        header[30..].copy_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        writer
            .write_all(&header)
            .and_then(|()| writer.write_all(&self.bytes))
            .map_err(FoyerError::io_error)
    }

    fn decode(reader: &mut impl std::io::Read) -> Result<Self, FoyerError> {
        let mut header = [0; HEADER];
        reader
            .read_exact(&mut header)
            .map_err(FoyerError::io_error)?;
        let (mut key, mut sum, mut length) = ([0; EntryKey::ENCODED], [0; 8], [0; 8]);
        key.copy_from_slice(&header[2..22]);
        sum.copy_from_slice(&header[22..30]);
        length.copy_from_slice(&header[30..]);
        let length = u64::from_le_bytes(length);
        if length > MAX_PAYLOAD {
            return Err(FoyerError::new(ErrorKind::Parse, "payload too long"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        reader
            .read_exact(&mut bytes)
            .map_err(FoyerError::io_error)?;
        Ok(Self {
            version: header[0],
            kind: header[1],
            key: EntryKey::decode(key),
            checksum: u64::from_le_bytes(sum),
            bytes: bytes.into(),
        })
    }

    fn estimated_size(&self) -> usize {
        HEADER + self.bytes.len()
    }
}

impl Code for EntryKey {
    fn encode(&self, writer: &mut impl std::io::Write) -> Result<(), FoyerError> {
        writer
            .write_all(&EntryKey::encode(*self))
            .map_err(FoyerError::io_error)
    }

    fn decode(reader: &mut impl std::io::Read) -> Result<Self, FoyerError> {
        let mut bytes = [0; Self::ENCODED];
        reader
            .read_exact(&mut bytes)
            .map_err(FoyerError::io_error)?;
        Ok(EntryKey::decode(bytes))
    }

    fn estimated_size(&self) -> usize {
        Self::ENCODED
    }
}
