//! One suite, two engines: a directory and S3 (a real SeaweedFS).
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod directory;
mod s3;
mod suite;
mod weed;
