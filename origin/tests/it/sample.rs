//! Synthetic tracks: real indexes over bytes that count up.

use bytes::Bytes;
use manifests::{
    BitrateBps, ByteRange, Codec, Cover, Loudness, Omitted, R128, Rendition, Revision, SCHEMA,
    Segment, Source, Tags, Ticks, Timescale, Track, TrackId,
};
use storage::{Key, ObjectStore};

pub(crate) const COVER: &[u8] = b"\x89PNG not really";

/// Byte `i` of every rendition file.
pub(crate) fn byte(i: u64) -> u8 {
    (i % 251) as u8
}

pub(crate) fn tags(artist: &str, album: &str, number: u32, title: &str) -> Tags {
    Tags {
        title: title.into(),
        artist: Some(artist.into()),
        album: Some(album.into()),
        track_number: Some(number),
        date: Some("1994".into()),
        ..Tags::default()
    }
}

/// A track of ten seconds in Opus and AAC, with a cover. `n` makes its id.
pub(crate) fn track(n: u32, tags: Tags) -> Track {
    let r128 = |lufs| R128 {
        integrated_lufs: Some(lufs),
        range_lu: None,
        true_peak_dbtp: Some(-1.0),
    };
    Track {
        schema: SCHEMA,
        id: TrackId(format!("t{n:020}")),
        revision: Revision(format!("{n:016x}")),
        source: Source {
            sha256: format!("{n:064x}"),
            bytes: 1,
            file_name: "a.flac".into(),
            container: "flac".into(),
            codec: "flac".into(),
            sample_rate: 48_000,
            channels: 2,
            bit_depth: Some(16),
            bitrate: None,
            samples: 480_000,
        },
        duration_s: 10.0,
        tags,
        cover: Some(Cover {
            name: "cover.png".into(),
            mime: "image/png".into(),
            bytes: COVER.len() as u64,
            sha256: "cc".repeat(32),
        }),
        loudness: Loudness {
            track: r128(-14.0),
            album: Some(r128(-13.0)),
        },
        renditions: vec![
            rendition("opus-64", Codec::Opus, 312, 64_000),
            rendition("opus-96", Codec::Opus, 312, 96_000),
            rendition("aac-128", Codec::AacLc, 2_112, 128_000),
        ],
        omitted: vec![Omitted {
            id: "flac".into(),
            reason: "the source is lossy".into(),
        }],
        preroll: None,
    }
}

fn rendition(id: &str, codec: Codec, priming: u64, bps: u32) -> Rendition {
    let total = priming + 480_000;
    let (mut time, mut offset) = (0, 1_000);
    let mut segments = Vec::new();
    while time < total {
        let grid = if segments.len() < 2 { 92_160 } else { 184_320 };
        let duration = grid.min(total - time);
        let len = duration * u64::from(bps) / 8 / 48_000;
        segments.push(Segment {
            start: Ticks(time),
            duration: Ticks(duration),
            bytes: ByteRange { start: offset, len },
        });
        time += duration;
        offset += len;
    }
    Rendition {
        id: id.into(),
        codec,
        sample_rate: 48_000,
        channels: 2,
        bit_depth: None,
        timescale: Timescale(48_000),
        priming: Ticks(priming),
        valid: Ticks(480_000),
        padding: Ticks(0),
        average: BitrateBps(bps),
        peak: BitrateBps(bps),
        bytes: offset,
        sha256: format!("{:064x}", bps),
        init: ByteRange { start: 0, len: 900 },
        index: ByteRange {
            start: 900,
            len: 100,
        },
        segments,
    }
}

/// Puts a track's objects into a store, `track.json` last.
pub(crate) async fn publish(store: &dyn ObjectStore, track: &Track) {
    let base = format!("tracks/{}/{}", track.id, track.revision);
    for r in &track.renditions {
        let bytes: Vec<u8> = (0..r.bytes).map(byte).collect();
        store
            .put(&key(&base, &format!("{}.mp4", r.id)), bytes.into())
            .await
            .unwrap();
    }
    store
        .put(&key(&base, "cover.png"), Bytes::from_static(COVER))
        .await
        .unwrap();
    store
        .put(&key(&base, "track.json"), track.to_json().unwrap().into())
        .await
        .unwrap();
}

fn key(base: &str, name: &str) -> Key {
    Key::new(format!("{base}/{name}")).unwrap()
}
