//! Segue, an audio CDN in one binary.
fn main() {}
