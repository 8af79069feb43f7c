//! Behaviour of the transcoder that a listener or an operator could notice.
#![allow(clippy::unwrap_used, missing_docs)]

mod packaging;
mod sound;
