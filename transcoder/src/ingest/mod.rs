//! Files and folders to published tracks: finds them, works on several at once, and publishes
//! album by album.
//!
//! A file's way: hash → whose sound is it, known already? → does it run on from the track before
//! (`lead`)? → decode, measure, encode (`job`) → upload (`publish`) → wait for the album (`albums`) → `track.json`. A fault ends one file's way;
//! the others go on. Owns the settings and the search; the work on a file is `prepare`, what is
//! done when an album is complete is `release`.

mod lead;
mod prepare;
mod progress;
mod release;
mod run;
mod survey;

use std::{collections::HashMap, path::PathBuf, pin::pin, sync::Arc};

use manifests::{Rendition, Tags};
use parking_lot::Mutex;
use storage::ObjectStore;
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

pub use survey::{Planned, Standing, survey};

use crate::{
    Error,
    albums::{self, Group, Position, Waiting},
    event::{Event, Failure, Report},
    isolate::Isolation,
    recipe::Recipe,
    source::Limits,
    walk::{self, File},
};
use run::{Run, State};

/// An encoding job runs a thread for each rendition; four threads' worth of cores keep one busy.
const CORES_PER_JOB: usize = 4;

/// Files hashed ahead or uploaded while others are encoded.
const OVERLAP: usize = 2;

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
    let (found, seats) = blocking(move || {
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
            waiting: Waiting::new(&seats.groups),
            claims: HashMap::new(),
            report: first,
        }),
    });
    let mut work = pin!(run.all(by_group(found.files, seats), encoders + OVERLAP));
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
    let ended = report.published + report.updated + report.unchanged + report.failed;
    let accounted = ended - unreadable;
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
        let (found, seats) = find(&inputs, &isolation, &CancellationToken::new());
        Ok(by_group(found.files, seats))
    })
    .await?;
    let sets = tasks.chunk_by(|a, b| a.group == b.group);
    Ok(sets
        .map(|set| set.iter().map(|task| task.file.path.clone()).collect())
        .collect())
}

/// Walks the inputs and reads every file's album tags.
fn find(
    inputs: &[PathBuf],
    isolation: &Isolation,
    cancel: &CancellationToken,
) -> (walk::Found, Seats) {
    let found = walk::walk(inputs);
    let mut reader = isolation.tag_reader();
    let mut positions = Vec::new();
    let tagged = found.files.iter().map(|file| {
        let tags = match cancel.is_cancelled() {
            true => Tags::default(),
            false => reader.read(&file.path),
        };
        positions.push(Position::of(&tags));
        (file.path.as_path(), tags)
    });
    let groups = albums::group(tagged);
    let before = albums::before(&groups, &positions);
    (found, Seats { groups, before })
}

/// What the files' tags say of how they belong together, in the order of the files.
struct Seats {
    groups: Vec<Group>,
    /// Index of the track before on the album.
    before: Vec<Option<usize>>,
}

/// Brings the files of a group together, so that few albums are under way at once.
fn by_group(files: Vec<File>, seats: Seats) -> Vec<Task> {
    let before: Vec<Option<PathBuf>> = seats
        .before
        .into_iter()
        .map(|before| before.map(|n| files[n].path.clone()))
        .collect();
    let mut tasks: Vec<_> = files
        .into_iter()
        .zip(seats.groups)
        .zip(before)
        .enumerate()
        .map(|(job, ((file, group), before))| Task {
            job,
            file,
            group,
            before,
        })
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
    /// The track before on the album.
    before: Option<PathBuf>,
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
