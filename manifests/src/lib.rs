//! Tracks as players see them: the domain types of a packaged track and pure renderers of
//! HLS, DASH and JSON.
//!
//! Nothing here does I/O or reads a clock: a plain snapshot goes in, text comes out. The edit list
//! in each rendition removes the encoder's priming, and no manifest removes it a second time: HLS
//! is written in decode times, which players hold against `tfdt`; DASH in presentation times.

mod bandwidth;
pub mod dash;
mod escape;
mod filter;
pub mod hls;
mod json;
mod ladder;
mod layout;
mod lookup;
mod takedown;
mod timeline;
mod track;

pub use filter::{BadCodec, CodecFilter};
pub use json::JsonError;
pub use ladder::Family;
pub use layout::{Addressing, BadAddressing, Layout};
pub use lookup::Part;
pub use takedown::Takedown;
pub use timeline::Span;
pub use track::*;
