//! What the disk tier is kept on: four operations, so that nothing else depends on foyer.

use std::sync::Arc;

use async_trait::async_trait;

use super::{blob::Blob, key::EntryKey};

/// A store of blobs that may lose any of them at any time.
#[async_trait]
pub(crate) trait Medium: Send + Sync + 'static {
    /// Whether an entry is probably there. Cheap; errs on the side of yes. Once
    /// [`Medium::flush`] is through, no for what could not be written.
    fn may_contain(&self, key: EntryKey) -> bool;

    /// Reads an entry. What comes may be damaged, or another's.
    ///
    /// # Errors
    /// [`Fault`] where the disk failed, rather than had nothing.
    async fn load(&self, key: EntryKey) -> Result<Option<Blob>, Fault>;

    /// Takes an entry for writing. Never waits, and may drop it.
    fn insert(&self, key: EntryKey, blob: Blob);

    /// Waits until what was taken is written or lost.
    async fn flush(&self);

    /// Writes what was taken and lets go of the disk.
    ///
    /// # Errors
    /// [`Fault`] where that failed.
    async fn close(&self) -> Result<(), Fault>;

    /// Bytes one [`Medium::flush`] takes at once; an entry may have half of them.
    fn batch(&self) -> usize;
}

/// Opens a medium, and opens it again after it failed.
#[async_trait]
pub(crate) trait Shelf: Send + Sync + 'static {
    /// Opens it, taking up what is there.
    ///
    /// # Errors
    /// [`Fault`] where the disk is unusable.
    async fn open(&self) -> Result<Arc<dyn Medium>, Fault>;
}

/// A disk that failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Fault(pub(crate) Box<dyn std::error::Error + Send + Sync>);
