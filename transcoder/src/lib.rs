//! Audio files in, CMAF renditions and track.json out.

pub mod cmaf;
pub mod demo;
pub mod encode;
mod error;
pub mod loudness;
pub mod resample;
pub mod source;
pub mod tags;

pub use error::Error;
