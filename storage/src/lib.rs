//! Object storage behind one trait: a local directory and any S3-compatible service.
//!
//! Objects are immutable once published: writers never change one in place, and readers may cache
//! by key and validator for ever.

use std::{fmt, ops::Range, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// A key: relative, `/`-separated, without empty, `.` or `..` segments, backslashes or control
/// characters; at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the text breaks a rule above.
    pub fn new(key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        let sound = !key.is_empty()
            && key.len() <= 1024
            && !key.chars().any(|c| c.is_control() || c == '\\')
            && key.split('/').all(|s| !matches!(s, "" | "." | ".."));
        if sound { Ok(Self(key)) } else { Err(Error::BadKey(key)) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The object.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Strong validator, without quotes.
    pub etag: String,
    /// Last write.
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
        f.debug_struct("Object").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// Failures of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is stored under that key.
    #[error("no object `{0}`")]
    NotFound(Key),
    /// The range starts at or beyond the object's end (`size` bytes).
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
    /// all, when it returns.
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta, Error>;

    /// Starts a streamed put. Nothing is visible before [`Upload::finish`]; dropping the upload
    /// abandons it.
    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, Error>;

    /// Opens an object, or bytes `range` of it; an end beyond the object is clamped.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BadRange`] where the range starts at or after the end.
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
    /// Appends bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;
    /// Publishes the object atomically and durably.
    async fn finish(self: Box<Self>) -> Result<Meta, Error>;
    /// Abandons the object and frees what was stored of it.
    async fn abort(self: Box<Self>) -> Result<(), Error>;
}
