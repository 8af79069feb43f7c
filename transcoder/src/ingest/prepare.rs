//! A file's way up to its `track.json`: whose sound it is, and what has to be made of it.

use std::{sync::Arc, time::Instant};

use manifests::{Loudness, Preroll, Rendition, Track};
use parking_lot::Mutex;

use super::{
    Task, blocking,
    lead::Lead,
    progress::{Part, Progress},
    run::{Ready, Run},
};
use crate::{
    Error,
    event::{Event, Stage},
    identity::SourceHash,
    isolate::{Identified, Order},
    job::{Encoded, Outcome},
    publish::Shelf,
};

/// What was made of a file, and lies in the store.
struct Made {
    outcome: Outcome,
    renditions: Vec<Rendition>,
    preroll: Option<Preroll>,
}

impl Run {
    /// Everything up to `track.json`.
    pub(super) async fn prepare(self: &Arc<Self>, task: &Task) -> Result<Ready, Error> {
        let file = self.hash(task).await?;
        let found = self.identify(task).await?;
        let sound = found.sound.unwrap_or(file);
        let place = sound.place(&self.config.recipe);
        if !self.claim(&place, task) {
            return Ok(Ready::Twin);
        }
        let shelf = Shelf {
            store: self.config.storage.clone(),
            place: place.clone(),
        };
        let result = self.prepare_claimed(task, file, found, shelf).await;
        if let Err(error) = &result {
            self.release_failed(&place, error).await;
        }
        result
    }

    async fn prepare_claimed(
        self: &Arc<Self>,
        task: &Task,
        file: SourceHash,
        found: Identified,
        mut shelf: Shelf,
    ) -> Result<Ready, Error> {
        shelf.admitted().await?;
        // Tracks were once named after the whole file, and notices of then hold.
        shelf.admits(&file.track()).await?;
        let (sound, recipe) = (found.sound.unwrap_or(file), &self.config.recipe);
        if let Some((shelf, track)) = shelf.standing(&sound, recipe).await? {
            return self.compare(task, shelf, track, file, found).await;
        }
        let lead = self.lead(task, &shelf).await?;
        if let Some(lead) = &lead {
            shelf.place.revision = sound.revision_after(recipe, &lead.track);
        }
        let made = self.encode_all(task, &shelf, lead).await?;
        self.describe(task, shelf, file, found, made).await
    }

    /// Encodes and stores all renditions, or those that an earlier ingest has not.
    async fn encode_all(
        self: &Arc<Self>,
        task: &Task,
        shelf: &Shelf,
        lead: Option<Arc<Lead>>,
    ) -> Result<Made, Error> {
        let long = task.file.bytes >= self.config.checkpoint_from;
        let mut renditions = match long {
            true => shelf.noted().await?,
            false => Vec::new(),
        };
        for there in &renditions {
            self.stored(task, there, true).await;
        }
        let steps = self.config.steps(task.file.bytes, &renditions);
        let mut outcome = None;
        for (n, ids) in steps.iter().enumerate() {
            let permit = self.encoders.acquire().await;
            let permit = permit.map_err(|_| Error::Cancelled)?;
            let part = Part {
                done: n,
                of: steps.len(),
            };
            let mut made = self.encode(task, ids.clone(), lead.clone(), part).await?;
            drop(permit);
            let encoded = std::mem::take(&mut made.renditions);
            renditions.extend(self.upload(task, shelf, encoded, long).await?);
            outcome.get_or_insert(made);
        }
        let outcome = outcome.ok_or_else(|| Error::Internal("nothing was encoded".into()))?;
        let place = |id: &str| self.config.recipe.rungs.iter().position(|r| r.id == id);
        renditions.sort_by_key(|rendition| place(&rendition.id));
        let preroll = lead.map(|lead| Preroll {
            track: lead.track.clone(),
        });
        Ok(Made {
            outcome,
            renditions,
            preroll,
        })
    }

    /// What a file of a published track means: the same file changes nothing, and one of the same
    /// sound brings its own tags and cover. Nothing is decoded or encoded for it.
    async fn compare(
        &self,
        task: &Task,
        shelf: Shelf,
        known: Track,
        file: SourceHash,
        found: Identified,
    ) -> Result<Ready, Error> {
        let sha256 = hex::encode(file.0);
        let cover = found.cover.as_ref().map(Shelf::describe_cover);
        let same = known.tags == found.tags
            && known.cover.as_ref().map(|c| &c.sha256) == cover.as_ref().map(|c| &c.sha256);
        if known.source.sha256 == sha256 || same {
            return Ok(Ready::Known {
                track: Arc::new(known),
            });
        }
        let mut track = known.clone();
        if track.cover.as_ref().map(|c| &c.sha256) != cover.as_ref().map(|c| &c.sha256) {
            track.cover = match found.cover {
                Some(art) => Some(shelf.cover(art).await?),
                None => None,
            };
        }
        track.tags = found.tags;
        track.source.sha256 = sha256;
        track.source.bytes = task.file.bytes;
        track.source.file_name = file_name(task);
        Ok(Ready::Retagged {
            shelf,
            track: Box::new(track),
            before: Box::new(known),
        })
    }

    async fn hash(self: &Arc<Self>, task: &Task) -> Result<SourceHash, Error> {
        let (run, task) = (self.clone(), task.clone());
        blocking(move || {
            let mut meter = Progress::new(&run, task.job, Stage::Hash, Part::WHOLE);
            let hashed = SourceHash::of(&task.file.path, |done| {
                meter.tell(done, Some(task.file.bytes));
                run.check()
            });
            hashed.map(|(hash, _)| hash)
        })
        .await
    }

    /// Asks whose sound a file has, and reads its tags.
    async fn identify(self: &Arc<Self>, task: &Task) -> Result<Identified, Error> {
        let (run, path) = (self.clone(), task.file.path.clone());
        blocking(move || run.config.isolation.identify(&path, &|_, _| run.check())).await
    }

    /// Encodes the renditions of those ids.
    async fn encode(
        self: &Arc<Self>,
        task: &Task,
        ids: Vec<String>,
        lead: Option<Arc<Lead>>,
        part: Part,
    ) -> Result<Outcome, Error> {
        let (run, task) = (self.clone(), task.clone());
        blocking(move || {
            let rungs = run.config.recipe.rungs.iter();
            let skip: Vec<String> = rungs
                .map(|rung| rung.id.clone())
                .filter(|id| !ids.contains(id))
                .collect();
            let meter = Mutex::new(Progress::new(&run, task.job, Stage::Encode, part));
            let order = Order {
                recipe: &run.config.recipe,
                limits: &run.config.limits,
                skip: &skip,
                lead: lead.as_ref().map(|lead| &lead.sound),
                work_dir: &run.config.work_dir,
                on_progress: &|done, total| {
                    meter.lock().tell(done, total);
                    run.check()
                },
            };
            run.config.isolation.make(&task.file.path, &order)
        })
        .await
    }

    /// Puts renditions into the store, and notes where asked to that they are there.
    async fn upload(
        &self,
        task: &Task,
        shelf: &Shelf,
        encoded: Vec<Encoded>,
        note: bool,
    ) -> Result<Vec<Rendition>, Error> {
        let stage = Stage::Store;
        let progress = |fraction| Event::Progress {
            job: task.job,
            stage,
            fraction,
        };
        self.emit(progress(0.0)).await;
        let renditions = tokio::select! {
            stored = shelf.renditions(encoded) => stored?,
            () = self.cancel.cancelled() => return Err(Error::Cancelled),
        };
        for rendition in &renditions {
            if note {
                shelf.note(rendition).await?;
            }
            self.stored(task, rendition, false).await;
        }
        self.emit(progress(1.0)).await;
        Ok(renditions)
    }

    async fn stored(&self, task: &Task, rendition: &Rendition, resumed: bool) {
        self.emit(Event::Stored {
            job: task.job,
            rendition: rendition.id.clone(),
            bytes: rendition.bytes,
            resumed,
        })
        .await;
    }

    /// The track's index, once all renditions are in the store.
    async fn describe(
        &self,
        task: &Task,
        shelf: Shelf,
        file: SourceHash,
        found: Identified,
        made: Made,
    ) -> Result<Ready, Error> {
        let outcome = made.outcome;
        let source = describe(task, file, &outcome);
        let cover = match found.cover {
            Some(art) => Some(shelf.cover(art).await?),
            None => None,
        };
        let track = Track {
            schema: manifests::SCHEMA,
            id: shelf.place.track.clone(),
            revision: shelf.place.revision.clone(),
            duration_s: outcome.length.samples as f64 / f64::from(outcome.length.rate),
            source,
            tags: found.tags,
            cover,
            loudness: Loudness {
                track: outcome.loudness,
                album: None,
            },
            renditions: made.renditions,
            omitted: outcome.omitted,
            preroll: made.preroll,
        };
        Ok(Ready::New {
            shelf,
            track: Box::new(track),
            stored: Instant::now(),
            meter: Box::new(outcome.meter),
        })
    }
}

fn describe(task: &Task, file: SourceHash, outcome: &Outcome) -> manifests::Source {
    let format = &outcome.format;
    manifests::Source {
        sha256: hex::encode(file.0),
        bytes: task.file.bytes,
        file_name: file_name(task),
        container: format.container.clone(),
        codec: format.codec.clone(),
        sample_rate: format.sample_rate,
        channels: format.channels,
        bit_depth: format.bit_depth,
        bitrate: format.lossy_bitrate.map(manifests::BitrateBps),
        samples: outcome.length.samples,
    }
}

fn file_name(task: &Task) -> String {
    let name = task.file.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
