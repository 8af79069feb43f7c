//! Synthetic tracks on the real grid.

use manifests::{
    BitrateBps, ByteRange, Codec, Loudness, R128, Rendition, Revision, SCHEMA, Segment, Source,
    Tags, Ticks, Timescale, Track, TrackId,
};

/// Renditions to make: id, codec, priming in samples, bit/s.
pub(crate) const LADDER: [(&str, Codec, u64, u32); 8] = [
    ("opus-32", Codec::Opus, 312, 32_000),
    ("opus-64", Codec::Opus, 312, 64_000),
    ("opus-96", Codec::Opus, 312, 96_000),
    ("opus-160", Codec::Opus, 312, 160_000),
    ("aac-64", Codec::HeAac, 4096, 64_000),
    ("aac-128", Codec::AacLc, 2112, 128_000),
    ("aac-256", Codec::AacLc, 2112, 256_000),
    ("flac", Codec::Flac, 0, 700_000),
];

/// A track of `samples` valid samples at 48 kHz with the whole ladder.
pub(crate) fn track(samples: u64) -> Track {
    with_ladder(samples, &LADDER)
}

/// A track of `samples` valid samples at 48 kHz.
pub(crate) fn with_ladder(samples: u64, ladder: &[(&str, Codec, u64, u32)]) -> Track {
    Track {
        schema: SCHEMA,
        id: TrackId("t0123456789abcdefghjk".into()),
        revision: Revision("00112233445566aa".into()),
        source: Source {
            sha256: "00".repeat(32),
            bytes: 1,
            file_name: "a.flac".into(),
            container: "flac".into(),
            codec: "flac".into(),
            sample_rate: 48_000,
            channels: 2,
            bit_depth: Some(16),
            bitrate: None,
            samples,
        },
        duration_s: samples as f64 / 48_000.0,
        tags: Tags {
            title: "Nocturne".into(),
            artist: Some("Ann & Bob".into()),
            ..Tags::default()
        },
        cover: None,
        loudness: Loudness {
            track: R128 {
                integrated_lufs: Some(-14.126),
                range_lu: Some(6.5),
                true_peak_dbtp: Some(-1.0),
            },
            album: None,
        },
        renditions: ladder
            .iter()
            .map(|&(id, c, p, bps)| rendition(id, c, p, bps, samples))
            .collect(),
        omitted: Vec::new(),
        preroll: None,
    }
}

/// Cuts at 1.92, 3.84, then every 3.84 s of media time.
pub(crate) fn rendition(id: &str, codec: Codec, priming: u64, bps: u32, valid: u64) -> Rendition {
    let total = priming + valid;
    let (mut time, mut offset) = (0u64, 1_000u64);
    let mut segments = Vec::new();
    while time < total {
        let grid = if segments.len() < 2 { 92_160 } else { 184_320 };
        let duration = grid.min(total - time);
        let len = (duration * u64::from(bps) / 8 / 48_000).max(8);
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
        valid: Ticks(valid),
        padding: Ticks(0),
        average: BitrateBps(bps),
        peak: BitrateBps(bps),
        bytes: offset,
        sha256: "ab".repeat(32),
        init: ByteRange { start: 0, len: 900 },
        index: ByteRange {
            start: 900,
            len: 100,
        },
        segments,
    }
}
