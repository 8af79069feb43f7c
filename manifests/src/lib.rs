//! Tracks as players see them: the domain types of a packaged track and pure renderers of
//! HLS, DASH and JSON.
//!
//! Nothing here does I/O or reads a clock: a plain snapshot goes in, text comes out.

mod track;

pub use track::*;
