//! foyer as a [`Medium`]: its settings and its sharp edges.
//!
//! - An entry must fit into a block and into the write buffer, or it is dropped without a word: both
//!   are made to fit the slice.
//! - What exceeds the write buffer between two flushes is dropped too: the caller writes batches of
//!   at most [`Medium::batch`] and flushes each.
//! - Entries are never removed: a removed one may come back after a restart, and removal races
//!   reads. What must not be used any more is refused at lookup, by purge sequence and body
//!   identity.
//! - `psync` is the I/O engine without known defects.
//! - Blocks are files that stay open: their number is bounded by their size growing with the disk.
//!   They are sparse: space is claimed as they are written, so a full file system shows as a fault.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder as _, Error as FoyerError, ErrorKind, FsDeviceBuilder,
    HybridCache, HybridCacheBuilder, HybridCachePolicy, Load, PsyncIoEngineConfig, RecoverMode,
};

use super::{
    blob::{self, Blob, HEADER, MAX_PAYLOAD},
    key::EntryKey,
    medium::{Fault, Medium, Shelf},
};

/// Smallest and largest block, bytes; and how many blocks there are, between them and at least.
const BLOCK: (u64, u64) = (16 << 20, 256 << 20);
const BLOCKS: u64 = 2048;
const BLOCKS_MIN: u64 = 16;

/// foyer's and our headers and alignment of one entry, bytes, at most.
const AROUND: u64 = 16 << 10;

/// A directory to keep entries in.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Bytes it may hold.
    size: u64,
    /// Bytes of the largest payload.
    slice: u64,
}

impl Directory {
    /// A directory that may hold `size` bytes, in entries of at most `slice`.
    pub(crate) fn new(path: &Path, size: u64, slice: u64) -> Self {
        Self {
            path: path.to_owned(),
            size,
            slice,
        }
    }

    /// Bytes of a block.
    fn block(&self) -> u64 {
        let even = (self.size / BLOCKS).clamp(BLOCK.0, BLOCK.1);
        let block = even
            .min(self.size / BLOCKS_MIN)
            .max(1 << 20)
            .max(self.slice + AROUND);
        block / 4096 * 4096
    }

    /// Bytes of the write buffer; foyer has two of them.
    fn buffer(&self) -> u64 {
        (4 << 20).max(2 * (self.slice + AROUND)) / 4096 * 4096
    }
}

#[async_trait]
impl Shelf for Directory {
    async fn open(&self) -> Result<Arc<dyn Medium>, Fault> {
        let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX / 4096 * 4096);
        let device = FsDeviceBuilder::new(&self.path)
            .with_capacity(bytes(self.size))
            .build()?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(bytes(self.block()))
            .with_buffer_pool_size(bytes(self.buffer()))
            .with_submit_queue_size_threshold(bytes(self.buffer()));
        let cache = HybridCacheBuilder::new()
            .with_name("segue")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(1)
            .with_shards(1)
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await?;
        Ok(Arc::new(Foyer {
            cache,
            batch: bytes(self.buffer()),
        }))
    }
}

/// An open directory.
struct Foyer {
    cache: HybridCache<EntryKey, Blob>,
    batch: usize,
}

#[async_trait]
impl Medium for Foyer {
    fn may_contain(&self, key: EntryKey) -> bool {
        self.cache.storage().may_contains(&key)
    }

    async fn load(&self, key: EntryKey) -> Result<Option<Blob>, Fault> {
        match self.cache.storage().load(&key).await {
            Ok(Load::Entry { value, .. }) => Ok(Some(value)),
            Ok(Load::Piece { piece, .. }) => Ok(Some(piece.value().clone())),
            Ok(Load::Miss | Load::Throttled) => Ok(None),
            // Damage, not failure: foyer has found the bytes wanting, or we have.
            Err(error) if error.kind() != ErrorKind::Io => {
                tracing::debug!(%error, "an entry on disk is damaged");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn insert(&self, key: EntryKey, blob: Blob) {
        self.cache.storage_writer(key).force().insert(blob);
    }

    async fn flush(&self) {
        self.cache.storage().wait().await;
    }

    async fn close(&self) -> Result<(), Fault> {
        Ok(self.cache.close().await?)
    }

    fn batch(&self) -> usize {
        self.batch
    }
}

impl From<FoyerError> for Fault {
    fn from(error: FoyerError) -> Self {
        Self(error.into())
    }
}

impl Code for Blob {
    fn encode(&self, writer: &mut impl std::io::Write) -> Result<(), FoyerError> {
        writer
            .write_all(&self.header())
            .and_then(|()| writer.write_all(self.payload()))
            .map_err(FoyerError::io_error)
    }

    fn decode(reader: &mut impl std::io::Read) -> Result<Self, FoyerError> {
        let damaged = |what: &'static str| FoyerError::new(ErrorKind::Parse, what);
        let mut header = [0; HEADER];
        reader
            .read_exact(&mut header)
            .map_err(|_| damaged("short header"))?;
        let length = blob::payload_length(&header);
        let length = usize::try_from(length)
            .ok()
            .filter(|_| length <= MAX_PAYLOAD)
            .ok_or_else(|| damaged("payload too long"))?;
        let mut bytes = vec![0; length];
        reader
            .read_exact(&mut bytes)
            .map_err(|_| damaged("short payload"))?;
        Self::from_parts(header, Bytes::from(bytes)).ok_or_else(|| damaged("length"))
    }

    fn estimated_size(&self) -> usize {
        self.size()
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
            .map_err(|_| FoyerError::new(ErrorKind::Parse, "short key"))?;
        Ok(EntryKey::decode(bytes))
    }

    fn estimated_size(&self) -> usize {
        Self::ENCODED
    }
}
