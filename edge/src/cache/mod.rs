//! The cache: objects as records and slices, in memory above disk, filled by detached tasks.

mod disk;
mod fetch;
mod fill;
pub(crate) mod key;
mod memory;
pub(crate) mod opening;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod store;

pub(crate) use disk::Disk;
pub(crate) use fill::Failure;
