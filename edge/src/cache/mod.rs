//! The cache: objects as records and slices, in memory above disk, filled by detached tasks.

pub(crate) mod ahead;
pub(crate) mod arrival;
mod blob;
mod circuit;
mod disk;
mod fetch;
mod fill;
mod footsteps;
mod foyer;
pub(crate) mod key;
pub(crate) mod ledger;
mod medium;
mod memory;
pub(crate) mod opening;
pub(crate) mod piece;
pub(crate) mod reader;
pub(crate) mod record;
#[cfg(test)]
mod simulation;
pub(crate) mod store;

pub(crate) use disk::Disk;
pub(crate) use fill::Failure;
pub(crate) use foyer::Directory;
