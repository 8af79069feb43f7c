//! The catalogue as the API answers it.

use manifests::{R128, Track};
use serde::{Deserialize, Serialize};

/// Segments that a player fetches together with init and index to start playing.
const START_SEGMENTS: usize = 2;

#[derive(Debug, Serialize)]
pub(super) struct TrackSummary {
    pub(super) id: String,
    pub(super) revision: String,
    pub(super) title: String,
    pub(super) artist: String,
    pub(super) artist_id: String,
    pub(super) album: AlbumRef,
    pub(super) track_number: Option<i64>,
    pub(super) disc_number: Option<i64>,
    pub(super) duration_s: f64,
    pub(super) cover: Option<String>,
    #[serde(flatten)]
    pub(super) detail: Detail,
    pub(super) hls: String,
    pub(super) dash: String,
}

#[derive(Debug, Serialize)]
pub(super) struct AlbumRef {
    pub(super) id: String,
    pub(super) title: String,
}

/// What is kept as JSON beside a track's columns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Detail {
    pub(super) loudness: Loudness,
    pub(super) renditions: Vec<RenditionSummary>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Loudness {
    pub(super) track: Figures,
    pub(super) album: Option<Figures>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) integrated_lufs: Option<f64>,
    pub(super) range_lu: Option<f64>,
    pub(super) true_peak_dbtp: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RenditionSummary {
    pub(super) id: String,
    pub(super) codecs: String,
    /// Mean, bit/s.
    pub(super) bitrate: u32,
    /// Of the heaviest segment, bit/s.
    pub(super) peak: u32,
    pub(super) sample_rate: u32,
    pub(super) bit_depth: Option<u32>,
    pub(super) channels: u32,
    pub(super) bytes: u64,
    pub(super) url: String,
    /// From the start of the file: init, index and the first segments.
    pub(super) start_bytes: u64,
    /// Where init ends and the index starts.
    pub(super) init_end: u64,
    /// Where the index ends and the first segment starts.
    pub(super) index_end: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct AlbumSummary {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) artist: String,
    pub(super) artist_id: String,
    pub(super) date: Option<String>,
    pub(super) cover: Option<String>,
    pub(super) track_count: i64,
    pub(super) duration_s: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Album {
    #[serde(flatten)]
    pub(super) summary: AlbumSummary,
    pub(super) loudness: Option<Figures>,
    pub(super) tracks: Vec<TrackSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct ArtistSummary {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) album_count: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct Artist {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) albums: Vec<AlbumSummary>,
}

impl From<R128> for Figures {
    fn from(r: R128) -> Self {
        Self {
            integrated_lufs: r.integrated_lufs,
            range_lu: r.range_lu,
            true_peak_dbtp: r.true_peak_dbtp,
        }
    }
}

impl Detail {
    pub(super) fn of(track: &Track) -> Self {
        let base = format!("/media/{}/{}", track.id, track.revision);
        let renditions = track.renditions.iter().map(|r| RenditionSummary {
            id: r.id.clone(),
            codecs: r.codec.rfc6381().to_owned(),
            bitrate: r.average.0,
            peak: r.peak.0,
            sample_rate: r.sample_rate,
            bit_depth: r.bit_depth,
            channels: r.channels,
            bytes: r.bytes,
            url: format!("{base}/{}.mp4", r.id),
            start_bytes: r.start_bytes(START_SEGMENTS),
            init_end: r.init.end(),
            index_end: r.index.end(),
        });
        let loudness = Loudness {
            track: track.loudness.track.into(),
            album: track.loudness.album.map(Figures::from),
        };
        Self {
            loudness,
            renditions: renditions.collect(),
        }
    }
}
