//! Files and folders to published tracks: finds them, works on several at once, and publishes
//! album by album.
//!
//! A file's way: hash → known already? → decode, measure, encode (`job`) → upload (`publish`) →
//! wait for the album (`albums`) → `track.json`. A fault ends one file's way; the others go on.

use std::{
    collections::HashMap,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use manifests::{Loudness, Rendition, Tags, Track};
use parking_lot::Mutex;
use storage::ObjectStore;
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    albums::{self, Group, Waiting},
    event::{Event, Failure, Report, Stage},
    identity::{Place, SourceHash},
    isolate::{Isolation, Made, OnProgress, Order},
    job::{Encoded, Outcome},
    loudness,
    publish::Shelf,
    recipe::Recipe,
    source::Limits,
    walk::{self, File},
};

/// An encoding job runs a thread for each rendition; four threads' worth of cores keep one busy.
const CORES_PER_JOB: usize = 4;

/// Files hashed ahead or uploaded while others are encoded.
const OVERLAP: usize = 2;

/// From then on renditions without an index may be taken for left behind: far less than what a
/// collection grants them.
const WAITED_LONG: Duration = Duration::from_secs(600);

/// How and where to ingest.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where tracks are published.
    pub storage: Arc<dyn ObjectStore>,
    /// Cores to keep busy; 0 means all.
    pub threads: usize,
    /// Existing directory for spools: about the size of the renditions of the files under way.
    pub work_dir: PathBuf,
    /// The ladder.
    pub recipe: Recipe,
    /// What a header may claim.
    pub limits: Limits,
    /// Where files are decoded.
    pub isolation: Isolation,
    /// Files from so many bytes on are encoded a few renditions at a time, and an ingest that was
    /// stopped goes on with those that are missing. Costs a further decoding for each step.
    pub checkpoint_from: u64,
}

/// Some minutes of a lossless file, half an hour of a lossy one.
pub const CHECKPOINT_FROM: u64 = 64 << 20;

impl Config {
    /// The standard ladder on all cores.
    pub fn new(storage: Arc<dyn ObjectStore>, work_dir: impl Into<PathBuf>) -> Config {
        Config {
            storage,
            threads: 0,
            work_dir: work_dir.into(),
            recipe: Recipe::default(),
            limits: Limits::default(),
            isolation: Isolation::default(),
            checkpoint_from: CHECKPOINT_FROM,
        }
    }

    /// Files encoded at once.
    fn encoders(&self) -> usize {
        self.cores().div_ceil(CORES_PER_JOB)
    }

    fn cores(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// Ids of renditions to be encoded together, in turn, of a file for which `noted` ones are
    /// there. Never empty: a pass without renditions still measures.
    fn steps(&self, bytes: u64, noted: &[Rendition]) -> Vec<Vec<String>> {
        let at_once = match bytes >= self.checkpoint_from {
            true => self.cores().max(CORES_PER_JOB),
            false => self.recipe.rungs.len().max(1),
        };
        let missing: Vec<String> = self
            .recipe
            .rungs
            .iter()
            .map(|rung| rung.id.clone())
            .filter(|id| !noted.iter().any(|rendition| rendition.id == *id))
            .collect();
        match missing.is_empty() {
            true => vec![Vec::new()],
            false => missing.chunks(at_once).map(<[_]>::to_vec).collect(),
        }
    }
}

/// Events waiting to be heard. Progress beyond that is dropped, everything else waits.
const EVENT_QUEUE: usize = 256;

/// Ingests files and folders. `on_event` is called from this future alone, in order.
///
/// Dropping the future or cancelling `cancel` stops within a second of sound; what was not
/// published by then leaves nothing visible, and the next ingest of the same files completes it.
/// Must be called within a Tokio runtime; encoding runs on threads of its own.
///
/// # Errors
/// [`Error::Spool`] where the working directory can't be used. Faults of single files are events.
pub async fn ingest(
    config: Config,
    inputs: Vec<PathBuf>,
    on_event: impl Fn(Event) + Send + Sync,
    cancel: CancellationToken,
) -> Result<Report, Error> {
    let cancel = cancel.child_token();
    let _stop_on_drop = cancel.clone().drop_guard();
    let work_dir = config.work_dir.clone();
    let (isolation, stop) = (config.isolation.clone(), cancel.clone());
    let (found, groups) = blocking(move || {
        tempfile::tempfile_in(work_dir).map_err(Error::Spool)?;
        Ok(find(&inputs, &isolation, &stop))
    })
    .await?;
    let total = found.files.len();
    let mut first = Report {
        ignored: found.ignored,
        ..Report::default()
    };
    for (job, file) in found.files.iter().enumerate() {
        on_event(Event::Found {
            job,
            path: file.path.clone(),
            bytes: file.bytes,
        });
    }
    for (n, (path, error)) in found.unreadable.into_iter().enumerate() {
        let failure = Failure {
            path,
            error: Arc::new(error),
        };
        on_event(failure.event(total + n));
        first.failures.push(failure);
    }
    let unreadable = first.failures.len();

    let (events, mut heard) = mpsc::channel(EVENT_QUEUE);
    let encoders = config.encoders();
    let run = Arc::new(Run {
        config,
        cancel,
        events,
        encoders: Semaphore::new(encoders),
        state: Mutex::new(State {
            waiting: Waiting::new(&groups),
            claims: HashMap::new(),
            report: first,
        }),
    });
    let mut work = pin!(run.all(by_group(found.files, groups), encoders + OVERLAP));
    loop {
        tokio::select! {
            biased;
            Some(event) = heard.recv() => on_event(event),
            () = &mut work => break,
        }
    }
    while let Ok(event) = heard.try_recv() {
        on_event(event);
    }
    let mut report = run.state.lock().report.clone();
    report.failed = report.failures.len();
    let accounted = report.published + report.unchanged + report.failed - unreadable;
    report.unfinished = total.saturating_sub(accounted);
    Ok(report)
}

/// The files below the inputs, in the sets that belong together: an album's loudness needs all its
/// tracks in one ingest.
///
/// # Errors
/// [`Error::Internal`] where the search panicked. What can't be read is left out.
pub async fn albums(
    inputs: Vec<PathBuf>,
    isolation: Isolation,
) -> Result<Vec<Vec<PathBuf>>, Error> {
    let tasks = blocking(move || {
        let (found, groups) = find(&inputs, &isolation, &CancellationToken::new());
        Ok(by_group(found.files, groups))
    })
    .await?;
    let sets = tasks.chunk_by(|a, b| a.group == b.group);
    Ok(sets
        .map(|set| set.iter().map(|task| task.file.path.clone()).collect())
        .collect())
}

/// What an ingest of a file would meet.
#[derive(Debug)]
pub enum Standing {
    /// Its bytes are not in the store, as this recipe would encode them.
    New,
    /// They are, as this track.
    Present(manifests::TrackId),
}

/// What an ingest would do with a file.
#[derive(Debug)]
pub struct Planned {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it would meet, or why it would fail, as far as that shows without decoding it.
    pub standing: Result<Standing, Error>,
}

/// Looks at files and folders as [`ingest`] would, and changes nothing.
///
/// # Errors
/// [`Error::Internal`] where the search panicked.
pub async fn survey(config: Config, inputs: Vec<PathBuf>) -> Result<Vec<Planned>, Error> {
    let found = blocking(move || Ok(walk::walk(&inputs))).await?;
    let mut plans: Vec<Planned> = found
        .unreadable
        .into_iter()
        .map(|(path, error)| Planned {
            path,
            bytes: 0,
            standing: Err(error),
        })
        .collect();
    for File { path, bytes } in found.files {
        let standing = standing(&config, path.clone()).await;
        plans.push(Planned {
            path,
            bytes,
            standing,
        });
    }
    Ok(plans)
}

async fn standing(config: &Config, path: PathBuf) -> Result<Standing, Error> {
    let (hash, _) = blocking(move || SourceHash::of(&path, |_| Ok(()))).await?;
    let place = Place {
        track: hash.track(),
        revision: hash.revision(&config.recipe),
    };
    let shelf = Shelf {
        store: config.storage.clone(),
        place,
    };
    shelf.admitted().await?;
    Ok(match shelf.published().await? {
        Some(track) => Standing::Present(track.id),
        None => Standing::New,
    })
}

/// Walks the inputs and reads every file's album tags.
fn find(
    inputs: &[PathBuf],
    isolation: &Isolation,
    cancel: &CancellationToken,
) -> (walk::Found, Vec<Group>) {
    let found = walk::walk(inputs);
    let mut reader = isolation.tag_reader();
    let tagged = found.files.iter().map(|file| {
        let tags = match cancel.is_cancelled() {
            true => Tags::default(),
            false => reader.read(&file.path),
        };
        (file.path.as_path(), tags)
    });
    let groups = albums::group(tagged);
    (found, groups)
}

/// Brings the files of a group together, so that few albums are under way at once.
fn by_group(files: Vec<File>, groups: Vec<Group>) -> Vec<Task> {
    let mut tasks: Vec<_> = files
        .into_iter()
        .zip(groups)
        .enumerate()
        .map(|(job, (file, group))| Task { job, file, group })
        .collect();
    tasks.sort_by_key(|task| task.group);
    tasks
}

/// One file to work on.
#[derive(Clone, Debug)]
struct Task {
    job: usize,
    file: File,
    group: Group,
}

/// What a file came to.
enum Ready {
    /// Encoded and uploaded, all but `track.json`.
    New {
        shelf: Shelf,
        track: Box<Track>,
        /// When the last of it was stored.
        stored: Instant,
        meter: Box<loudness::State>,
    },
    /// Published before.
    Known { track: Arc<Track> },
    /// The same bytes as another file of this ingest, which stands for both.
    Twin,
}

/// A track waiting for its album.
struct Member {
    task: Task,
    ready: Ready,
}

/// What an ingest shares between its tasks.
struct Run {
    config: Config,
    cancel: CancellationToken,
    events: mpsc::Sender<Event>,
    encoders: Semaphore,
    state: Mutex<State>,
}

struct State {
    waiting: Waiting<Member>,
    /// Revisions under way, and the other files with the same bytes.
    claims: HashMap<String, Vec<Task>>,
    report: Report,
}

impl Run {
    async fn emit(&self, event: Event) {
        // The receiver outlives all tasks, or the ingest was dropped and nobody listens.
        let _ = self.events.send(event).await;
    }

    async fn failed(&self, task: &Task, error: &Arc<Error>) {
        let failure = Failure {
            path: task.file.path.clone(),
            error: error.clone(),
        };
        let event = failure.event(task.job);
        self.state.lock().report.failures.push(failure);
        self.emit(event).await;
    }

    /// Works on the tasks, `at_once` at a time.
    async fn all(self: &Arc<Self>, tasks: Vec<Task>, at_once: usize) {
        let mut running = JoinSet::new();
        for task in tasks {
            while running.len() >= at_once {
                running.join_next().await;
            }
            if self.cancel.is_cancelled() {
                break;
            }
            let run = self.clone();
            running.spawn(async move { run.one(task).await });
        }
        while running.join_next().await.is_some() {}
    }

    async fn one(self: Arc<Self>, task: Task) {
        self.emit(Event::Started { job: task.job }).await;
        let member = match self.prepare(&task).await {
            Ok(ready) => Some(Member {
                task: task.clone(),
                ready,
            }),
            // The album stays incomplete, so none of it is published without its loudness.
            Err(Error::Cancelled) => return,
            Err(error) => {
                self.failed(&task, &Arc::new(error)).await;
                None
            }
        };
        let complete = self.state.lock().waiting.done(task.group, member);
        if let Some(members) = complete {
            self.publish(members).await;
        }
    }

    /// Everything up to `track.json`.
    async fn prepare(self: &Arc<Self>, task: &Task) -> Result<Ready, Error> {
        let hash = self.hash(task).await?;
        let place = Place {
            track: hash.track(),
            revision: hash.revision(&self.config.recipe),
        };
        if !self.claim(&place, task) {
            return Ok(Ready::Twin);
        }
        let result = self.prepare_claimed(task, hash, place.clone()).await;
        if let Err(error) = &result {
            self.release_failed(&place, error).await;
        }
        result
    }

    async fn prepare_claimed(
        self: &Arc<Self>,
        task: &Task,
        hash: SourceHash,
        place: Place,
    ) -> Result<Ready, Error> {
        let shelf = Shelf {
            store: self.config.storage.clone(),
            place,
        };
        shelf.admitted().await?;
        if let Some(track) = shelf.published().await? {
            return Ok(Ready::Known {
                track: Arc::new(track),
            });
        }
        let long = task.file.bytes >= self.config.checkpoint_from;
        let mut renditions = match long {
            true => shelf.noted().await?,
            false => Vec::new(),
        };
        for there in &renditions {
            self.stored(task, there, true).await;
        }
        let steps = self.config.steps(task.file.bytes, &renditions);
        let mut first = None;
        for (n, ids) in steps.iter().enumerate() {
            let permit = self.encoders.acquire().await;
            let permit = permit.map_err(|_| Error::Cancelled)?;
            let part = Part {
                done: n,
                of: steps.len(),
            };
            let mut made = self.encode(task, ids.clone(), part).await?;
            drop(permit);
            let encoded = std::mem::take(&mut made.outcome.renditions);
            renditions.extend(self.upload(task, &shelf, encoded, long).await?);
            first.get_or_insert(made);
        }
        let made = first.ok_or_else(|| Error::Internal("nothing was encoded".into()))?;
        let place = |id: &str| self.config.recipe.rungs.iter().position(|r| r.id == id);
        renditions.sort_by_key(|rendition| place(&rendition.id));
        self.describe(task, &shelf, hash, made, renditions).await
    }

    /// Whether the task is the first of these bytes. If not, the first one speaks for it too.
    fn claim(&self, place: &Place, task: &Task) -> bool {
        let mut state = self.state.lock();
        match state.claims.get_mut(&place.revision.0) {
            Some(twins) => {
                twins.push(task.clone());
                false
            }
            None => {
                state.claims.insert(place.revision.0.clone(), Vec::new());
                true
            }
        }
    }

    /// Twins of a file that failed would fail alike.
    async fn release_failed(&self, place: &Place, error: &Error) {
        let twins = self
            .state
            .lock()
            .claims
            .remove(&place.revision.0)
            .unwrap_or_default();
        if matches!(error, Error::Cancelled) {
            return;
        }
        let error = Arc::new(Error::Twin(error.to_string()));
        for twin in twins {
            self.failed(&twin, &error).await;
        }
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

    /// Encodes the renditions of those ids.
    async fn encode(
        self: &Arc<Self>,
        task: &Task,
        ids: Vec<String>,
        part: Part,
    ) -> Result<Made, Error> {
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
        shelf: &Shelf,
        hash: SourceHash,
        made: Made,
        renditions: Vec<Rendition>,
    ) -> Result<Ready, Error> {
        let Made {
            outcome,
            tags,
            cover: art,
        } = made;
        let source = describe(task, hash, &outcome);
        let cover = match art {
            Some(art) => Some(shelf.cover(art).await?),
            None => None,
        };
        let track = Track {
            schema: manifests::SCHEMA,
            id: shelf.place.track.clone(),
            revision: shelf.place.revision.clone(),
            duration_s: outcome.length.samples as f64 / f64::from(outcome.length.rate),
            source,
            tags,
            cover,
            loudness: Loudness {
                track: outcome.loudness,
                album: None,
            },
            renditions,
            omitted: outcome.omitted,
        };
        Ok(Ready::New {
            shelf: shelf.clone(),
            track: Box::new(track),
            stored: Instant::now(),
            meter: Box::new(outcome.meter),
        })
    }

    /// Publishes a complete group, with its album loudness where it is an album.
    async fn publish(self: &Arc<Self>, members: Vec<Member>) {
        let album = self.album(&members).await;
        for Member { task, ready } in members {
            let (place, result) = match ready {
                Ready::Twin => continue,
                Ready::Known { track } => {
                    let place = Place {
                        track: track.id.clone(),
                        revision: track.revision.clone(),
                    };
                    (place, Ok((track, false)))
                }
                Ready::New {
                    shelf,
                    mut track,
                    stored,
                    ..
                } => {
                    track.loudness.album = album;
                    let waited = stored.elapsed() >= WAITED_LONG;
                    let noted = task.file.bytes >= self.config.checkpoint_from;
                    let stored = publish(&shelf, &track, waited, noted).await;
                    (shelf.place, stored.map(|()| (Arc::new(*track), true)))
                }
            };
            match result {
                Ok((track, fresh)) => self.published(&task, &place, &track, fresh).await,
                Err(error) => {
                    self.release_failed(&place, &error).await;
                    self.failed(&task, &Arc::new(error)).await;
                }
            }
        }
    }

    async fn published(&self, task: &Task, place: &Place, track: &Arc<Track>, fresh: bool) {
        let twins = {
            let mut state = self.state.lock();
            let twins = state.claims.remove(&place.revision.0).unwrap_or_default();
            let report = &mut state.report;
            report.published += usize::from(fresh);
            report.unchanged += usize::from(!fresh) + twins.len();
            report.audio_s += if fresh { track.duration_s } else { 0.0 };
            twins
        };
        let event = |job, fresh| Event::Published {
            job,
            track: track.clone(),
            fresh,
        };
        self.emit(event(task.job, fresh)).await;
        for twin in twins {
            self.emit(event(twin.job, false)).await;
        }
    }

    /// The loudness of two or more tracks as one programme, if any of them is new. Tracks
    /// published before are decoded once more for it.
    async fn album(self: &Arc<Self>, members: &[Member]) -> Option<manifests::R128> {
        let tracks = members
            .iter()
            .filter(|m| !matches!(m.ready, Ready::Twin))
            .count();
        let fresh = members.iter().any(|m| matches!(m.ready, Ready::New { .. }));
        if tracks < 2 || !fresh {
            return None;
        }
        let mut known = Vec::new();
        for member in members
            .iter()
            .filter(|m| matches!(m.ready, Ready::Known { .. }))
        {
            let (run, path) = (self.clone(), member.task.file.path.clone());
            let measure = move || {
                let go_on: OnProgress<'_> = &|_, _| run.check();
                run.config
                    .isolation
                    .measure(&path, &run.config.limits, go_on)
            };
            match blocking(measure).await {
                Ok(state) => known.push(state),
                Err(error) => {
                    tracing::warn!(path = %member.task.file.path.display(), %error, "not measured");
                }
            }
        }
        let new = members.iter().filter_map(|m| match &m.ready {
            Ready::New { meter, .. } => Some(meter.as_ref()),
            _ => None,
        });
        Some(loudness::album(new.chain(&known)))
    }

    fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Makes a track exist.
async fn publish(shelf: &Shelf, track: &Track, waited: bool, noted: bool) -> Result<(), Error> {
    shelf.index(track).await?;
    if waited || noted {
        shelf.confirm(track).await?;
    }
    if noted {
        // Notes that stay would only lie about.
        shelf.forget(&track.renditions).await?;
    }
    Ok(())
}

/// Runs on a thread where blocking is fine. A panic there (a decoder's, on a hostile file) is
/// this job's error, not the program's end.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::Cancelled),
        Err(error) => Err(Error::Internal(error.to_string())),
    }
}

fn describe(task: &Task, hash: SourceHash, outcome: &Outcome) -> manifests::Source {
    let format = &outcome.format;
    let name = task.file.path.file_name().unwrap_or_default();
    manifests::Source {
        sha256: hex::encode(hash.0),
        bytes: task.file.bytes,
        file_name: name.to_string_lossy().into_owned(),
        container: format.container.clone(),
        codec: format.codec.clone(),
        sample_rate: format.sample_rate,
        channels: format.channels,
        bit_depth: format.bit_depth,
        bitrate: format.lossy_bitrate.map(manifests::BitrateBps),
        samples: outcome.length.samples,
    }
}

/// A step of several that look alike.
#[derive(Clone, Copy, Debug)]
struct Part {
    done: usize,
    of: usize,
}

impl Part {
    const WHOLE: Part = Part { done: 0, of: 1 };
}

/// Tells progress in steps of a percent.
struct Progress<'a> {
    part: Part,
    run: &'a Run,
    job: usize,
    stage: Stage,
    told: f64,
}

impl<'a> Progress<'a> {
    fn new(run: &'a Run, job: usize, stage: Stage, part: Part) -> Progress<'a> {
        Progress {
            part,
            run,
            job,
            stage,
            told: 0.0,
        }
    }

    fn tell(&mut self, done: u64, total: Option<u64>) {
        let Some(total) = total.filter(|total| *total > 0) else {
            return;
        };
        let here = (done as f64 / total as f64).min(1.0);
        let fraction = (self.part.done as f64 + here) / self.part.of as f64;
        if fraction - self.told >= 0.01 || (fraction >= 1.0 && self.told < 1.0) {
            self.told = fraction;
            let (job, stage) = (self.job, self.stage);
            let _ = self.run.events.try_send(Event::Progress {
                job,
                stage,
                fraction,
            });
        }
    }
}
