//! How fast manifests are rendered on one core.
//!
//!     cargo run --release -p manifests --example render
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "../tests/it/sample.rs"]
mod sample;

use std::{hint::black_box, time::Instant};

use manifests::{
    Addressing, CodecFilter, Layout, Track, dash,
    hls::{self, Item},
};

/// Seconds that each figure is measured for.
const SECONDS: f64 = 1.0;

fn main() {
    // Three and a half minutes: 55 segments in each of 8 renditions.
    let track = sample::track(48_000 * 210);
    let (ranges, segments) = (
        Layout::v1(Addressing::Ranges),
        Layout::v1(Addressing::Segments),
    );
    let all = CodecFilter::default();
    let item = Item {
        track: &track,
        rendition: track.rendition("opus-96").unwrap(),
    };
    let album: Vec<Track> = vec![track.clone(); 12];
    let album: Vec<&Track> = album.iter().collect();
    println!(
        "a track of 210 s, 8 renditions of {} segments",
        item.rendition.segments.len()
    );
    rate("multivariant playlist", || {
        hls::multivariant(&[&track], all, &ranges).unwrap()
    });
    rate("media playlist", || hls::media(&[item], &ranges));
    rate("MPD, SegmentBase", || {
        dash::mpd(&[&track], all, &ranges).unwrap()
    });
    rate("MPD, SegmentTimeline", || {
        dash::mpd(&[&track], all, &segments).unwrap()
    });
    rate("multivariant playlist of 12 tracks", || {
        hls::multivariant(&album, all, &ranges).unwrap()
    });
}

fn rate(what: &str, render: impl Fn() -> String) {
    let bytes = render().len();
    let since = Instant::now();
    let mut rendered = 0_u64;
    while since.elapsed().as_secs_f64() < SECONDS {
        black_box(render());
        rendered += 1;
    }
    let each = since.elapsed().as_secs_f64() / rendered as f64;
    println!(
        "{what:36} {:9.0} /s  {:8.1} µs  {bytes:6} bytes",
        1.0 / each,
        each * 1e6
    );
}
