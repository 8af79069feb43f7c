//! Object storage behind one trait: a local directory and any S3-compatible service.
//!
//! Objects are immutable once published: writers never change one in place, and readers may cache
//! by key and validator for ever. Owns naming, atomicity, durability and ranges; knows nothing of
//! what objects mean.

mod directory;
mod key;
pub mod s3;
mod url;

use std::{fmt, ops::Range, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use directory::Directory;
pub use key::Key;
pub use s3::S3;
pub use url::open;

/// What is known of an object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The object.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Strong validator, without quotes.
    pub etag: String,
    /// Last write, by the store's clock and as finely as the store tells.
    pub modified: SystemTime,
}

/// An object's bytes, or a range of them, as they arrive.
pub struct Object {
    /// Of the whole object.
    pub meta: Meta,
    /// The bytes that `body` yields, clamped to the object's size.
    pub range: Range<u64>,
    /// The bytes in order. Yields exactly `range.end - range.start` bytes or ends with an error.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("meta", &self.meta)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Failures of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is stored under that key.
    #[error("no object `{0}`")]
    NotFound(Key),
    /// The range is empty, or starts at or beyond the object's end (`size` bytes).
    #[error("range starts at {start}, object `{key}` has {size} bytes")]
    BadRange {
        /// The object.
        key: Key,
        /// Asked first byte.
        start: u64,
        /// Object's size.
        size: u64,
    },
    /// The text is no key.
    #[error("`{0}` is not an object key")]
    BadKey(String),
    /// The store's settings are unusable; the text says what to change.
    #[error("{0}")]
    Config(String),
    /// The store answered with a failure or not at all.
    #[error("{what} failed for `{key}`: {source}")]
    Store {
        /// The operation.
        what: &'static str,
        /// The object or prefix.
        key: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An object store. All methods may be called from many tasks at once.
#[async_trait]
pub trait ObjectStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a whole object, replacing any of that key; durable and wholly visible, or not at
    /// all, when it returns. Dropping the future leaves either the old object or the new one.
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta, Error>;

    /// Starts a streamed put. Nothing is visible before [`Upload::finish`]; dropping the upload
    /// abandons it.
    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, Error>;

    /// Opens an object, or bytes `range` of it; an end beyond the object is clamped. An object
    /// that is replaced while it is read yields the old bytes to the end, or an error.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BadRange`] where the range is empty or starts at or after
    /// the end.
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error>;

    /// Describes an object.
    async fn head(&self, key: &Key) -> Result<Meta, Error>;

    /// Lists objects whose keys start with `prefix` (any text, also part of a segment), in
    /// ascending key order, page by page as it is polled.
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<Meta, Error>>;

    /// Removes an object. Removing what is not there succeeds.
    async fn delete(&self, key: &Key) -> Result<(), Error>;
}

/// A streamed put in progress.
#[async_trait]
pub trait Upload: Send {
    /// Appends bytes. After an error, or after its future was dropped, only
    /// [`abort`](Upload::abort) or dropping makes sense: anything else fails.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;
    /// Publishes the object atomically and durably.
    async fn finish(self: Box<Self>) -> Result<Meta, Error>;
    /// Abandons the object and frees what was stored of it.
    async fn abort(self: Box<Self>) -> Result<(), Error>;
}

/// Clamps an asked range to an object's size.
fn clamp(range: Option<Range<u64>>, key: &Key, size: u64) -> Result<Range<u64>, Error> {
    match range {
        None => Ok(0..size),
        Some(range) if range.start < size && range.start < range.end => {
            Ok(range.start..range.end.min(size))
        }
        Some(range) => Err(Error::BadRange {
            key: key.clone(),
            start: range.start,
            size,
        }),
    }
}

/// Whether keys can start with that text at all: no complete segment of it breaks a rule.
fn can_start_keys(prefix: &str) -> bool {
    match prefix.rsplit_once('/') {
        Some((segments, _)) => Key::new(segments).is_ok(),
        None => true,
    }
}
