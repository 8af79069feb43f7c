//! Behaviour of the transcoder that a listener or an operator could notice.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod exact;
mod ingest;
mod packaging;
mod place;
mod preroll;
mod seams;
mod sound;
mod source;
