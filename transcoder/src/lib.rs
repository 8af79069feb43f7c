//! Audio files in, CMAF renditions and track.json out.
//!
//! A file's way is told in [`ingest`]: hash, decode, measure, encode every rung of the
//! [`recipe`] in parallel, package as [`cmaf`], publish with `track.json` last.

mod albums;
pub mod cmaf;
pub mod content;
pub mod demo;
mod downmix;
pub mod encode;
mod error;
mod event;
mod identity;
mod ingest;
pub mod inspect;
pub mod isolate;
mod job;
pub mod loudness;
mod preroll;
mod publish;
pub mod recipe;
pub mod resample;
pub mod source;
pub mod tags;
mod walk;

pub use error::Error;
pub use event::{Change, Event, Failure, Report, Stage};
pub use ingest::{CHECKPOINT_FROM, Config, Planned, Standing, albums, ingest, survey};
pub use isolate::Isolation;
pub use recipe::Recipe;
pub use source::Limits;
pub use walk::may_be_audio;
