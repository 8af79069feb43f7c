//! A rendition as one CMAF file (ISO/IEC 23000-19): `ftyp moov sidx (moof mdat)*`.
//!
//! Owns the layout: boxes, the segment grid, edit lists, roll groups, the index. Does not own
//! where the bytes go (publish) nor what makes the packets (encode).

mod boxes;
mod fragment;
mod grid;
mod init;
mod ludt;
mod writer;

pub use grid::{Grid, SourceLength, flac_block};
pub use init::{Config, Description};
pub use writer::{Body, Packaged, Timing, Writer};
