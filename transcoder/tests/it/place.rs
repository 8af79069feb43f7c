//! A place to ingest into, and what came of it.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures_util::TryStreamExt;
use manifests::Track;
use storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use transcoder::{Change, Config, Event, Report, ingest, inspect};

use crate::sound;

/// A folder of sources, a store and a working directory.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Arc<dyn ObjectStore>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        for name in ["music", "store", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let store = Arc::new(storage::Directory::open(dir.path().join("store")).unwrap());
        Place { dir, store }
    }

    pub(crate) fn music(&self) -> PathBuf {
        self.dir.path().join("music")
    }

    pub(crate) fn wav(
        &self,
        name: &str,
        seconds: f64,
        channels: u16,
        rate: u32,
        bits: u16,
    ) -> Vec<i32> {
        let samples = (seconds * f64::from(rate)) as u64;
        let pcm = sound::music(samples, usize::from(channels), rate);
        let pcm = sound::integers(&pcm, u32::from(bits));
        sound::wav(&self.music().join(name), &pcm, channels, rate, bits);
        pcm
    }

    pub(crate) async fn ingest(&self) -> (Report, Vec<Event>) {
        self.ingest_until(CancellationToken::new(), |_| {}).await
    }

    pub(crate) async fn ingest_until(
        &self,
        cancel: CancellationToken,
        on_event: impl Fn(&Event) + Send + Sync,
    ) -> (Report, Vec<Event>) {
        self.ingest_as(self.config(), self.music(), cancel, on_event)
            .await
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.store.clone(), self.dir.path().join("work"))
    }

    /// Ingests a file or folder.
    pub(crate) async fn ingest_as(
        &self,
        config: Config,
        input: PathBuf,
        cancel: CancellationToken,
        on_event: impl Fn(&Event) + Send + Sync,
    ) -> (Report, Vec<Event>) {
        let heard = Mutex::new(Vec::new());
        let report = ingest(
            config,
            vec![input],
            |event| {
                on_event(&event);
                heard.lock().unwrap().push(event);
            },
            cancel,
        )
        .await
        .unwrap();
        (report, heard.into_inner().unwrap())
    }

    pub(crate) async fn objects(&self) -> Vec<storage::Meta> {
        self.store.list("tracks/").try_collect().await.unwrap()
    }

    /// Path of a rendition in the store.
    pub(crate) fn rendition(&self, track: &Track, id: &str) -> PathBuf {
        let folder = format!("store/tracks/{}/{}", track.id, track.revision);
        let found = self.dir.path().join(folder).join(format!("{id}.mp4"));
        assert!(found.exists(), "{}", found.display());
        found
    }
}

pub(crate) fn published(events: &[Event]) -> Vec<(Arc<Track>, bool)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Published { track, change, .. } => {
                Some((track.clone(), *change == Change::Track))
            }
            _ => None,
        })
        .collect()
}

/// Checks every rendition of a track against its index and its source.
#[track_caller]
pub(crate) fn check_track(place: &Place, track: &Track, source: &[f32]) {
    let mut misplaced = Vec::new();
    for rendition in &track.renditions {
        let path = place.rendition(track, &rendition.id);
        let file = fs::read(&path).unwrap();
        assert_eq!(file.len() as u64, rendition.bytes);
        assert_eq!(
            rendition.segments.last().unwrap().bytes.end(),
            rendition.bytes
        );
        let mut seen = inspect::inspect(&file);
        seen.check_ours();
        assert!(seen.problems.is_empty(), "{}: {seen}", rendition.id);
        for ffmpeg in sound::ffmpegs().iter().filter(|f| sound::knows_edits(f)) {
            let decoded = sound::decode(ffmpeg, &path, Some(track.source.sample_rate));
            let (lag, score) = sound::offset(source, &decoded);
            if lag != 0 || score < 0.9 {
                misplaced.push(format!(
                    "{}: lag {lag}, correlation {score:.4}",
                    rendition.id
                ));
            }
        }
    }
    assert!(misplaced.is_empty(), "{misplaced:?}");
}

pub(crate) fn floats(pcm: &[i32], channels: usize, bits: u32) -> Vec<f32> {
    pcm.iter()
        .step_by(channels)
        .map(|s| *s as f32 / (1_u64 << (bits - 1)) as f32)
        .collect()
}
