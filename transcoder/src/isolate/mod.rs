//! Work on files that nobody vouches for: in this process, or in one of its own for each file,
//! which has limits, no file system and no network.
//!
//! The process of a file is handed its source and one scratch file a rendition as open
//! descriptors, and does everything between the two: what comes back over its socket are figures,
//! tags and a cover, no sound. So isolation costs a start of a process and nothing a second of
//! sound. The end of the track before, where encoders hear it, goes from one such process to the next
//! in a scratch file. Owns which process does the work. Does not own the work (`job`, `preroll`, `tags`).

mod bounds;
mod child;
mod confine;
mod fate;
mod parent;
mod wire;

use std::{ffi::OsString, fs::File, path::Path, path::PathBuf, sync::Arc};

use manifests::Tags;

pub use bounds::Bounds;
pub use child::serve;
pub use fate::Fate;
pub(crate) use wire::as_text;

use crate::{
    Error,
    identity::SourceHash,
    job, loudness, preroll, source,
    source::Limits,
    tags::{self, CoverArt},
};
use parent::Workers;

/// Where decoders and encoders run.
#[derive(Clone, Debug, Default)]
pub enum Isolation {
    /// In this process: a decoder that crashes takes the program with it.
    #[default]
    InProcess,
    /// In a process for each file.
    Process(Arc<Launch>),
}

/// How a process for a file is started: a program that calls [`serve`].
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What it may use up.
    pub bounds: Bounds,
}

/// Hears samples done and samples in all, if known; stops the work by an error.
pub(crate) type OnProgress<'a> = &'a dyn Fn(u64, Option<u64>) -> Result<(), Error>;

/// What is made of a file.
pub(crate) struct Order<'a> {
    pub(crate) recipe: &'a crate::Recipe,
    pub(crate) limits: &'a Limits,
    /// Renditions that are there already.
    pub(crate) skip: &'a [String],
    /// What [`Isolation::lead`] has left.
    pub(crate) lead: Option<&'a File>,
    /// Where scratch files go.
    pub(crate) work_dir: &'a Path,
    pub(crate) on_progress: OnProgress<'a>,
}

/// Whose sound a file has, and how it is called.
pub(crate) struct Identified {
    /// None where the coded sound can't be told from the rest: decoding will say what is wrong.
    pub(crate) sound: Option<SourceHash>,
    pub(crate) tags: Tags,
    pub(crate) cover: Option<CoverArt>,
}

impl Isolation {
    /// Finds out whose sound a file has, and reads its tags. Blocking.
    pub(crate) fn identify(
        &self,
        path: &Path,
        on_progress: OnProgress<'_>,
    ) -> Result<Identified, Error> {
        let source = open(path)?;
        let (sound, (tags, cover)) = match self {
            Isolation::InProcess => {
                let again = source.try_clone().map_err(Error::Read)?;
                let sound = job::identify(source, on_progress);
                (job::if_sound(sound)?, tags::embedded(again))
            }
            Isolation::Process(launch) => parent::identify(launch, &source, on_progress)?,
        };
        let (tags, cover) = tags::complete(path, tags, cover);
        Ok(Identified {
            sound: sound.map(SourceHash),
            tags,
            cover,
        })
    }

    /// Encodes a file. Blocking.
    pub(crate) fn make(&self, path: &Path, order: &Order<'_>) -> Result<job::Outcome, Error> {
        let source = open(path)?;
        match self {
            Isolation::InProcess => {
                let lead = order.lead.map(File::try_clone).transpose();
                let bench = job::Bench {
                    recipe: order.recipe,
                    limits: order.limits,
                    skip: order.skip,
                    lead: lead.map_err(Error::Spool)?,
                    spool: &mut || tempfile::tempfile_in(order.work_dir).map_err(Error::Spool),
                    on_progress: order.on_progress,
                };
                job::encode(source, bench)
            }
            Isolation::Process(launch) => parent::make(launch, &source, order),
        }
    }

    /// Puts the end of the file `before` into `scratch` where that at `path` runs on from it, and tells
    /// whether it does. Blocking.
    pub(crate) fn lead(
        &self,
        before: &Path,
        path: &Path,
        scratch: &File,
        limits: &Limits,
        on_progress: OnProgress<'_>,
    ) -> Result<bool, Error> {
        let (before, track) = (open(before)?, open(path)?);
        match self {
            Isolation::InProcess => preroll::lead(before, track, scratch, limits, on_progress),
            Isolation::Process(launch) => {
                parent::lead(launch, &before, &track, scratch, limits, on_progress)
            }
        }
    }

    /// Decodes a file for its loudness alone. Blocking.
    pub(crate) fn measure(
        &self,
        path: &Path,
        limits: &Limits,
        on_progress: OnProgress<'_>,
    ) -> Result<loudness::State, Error> {
        let source = open(path)?;
        match self {
            Isolation::InProcess => job::measure(source, limits, on_progress),
            Isolation::Process(launch) => parent::measure(launch, &source, limits, on_progress),
        }
    }

    /// Reads tags of many files. Blocking.
    pub(crate) fn tag_reader(&self) -> TagReader {
        TagReader(match self {
            Isolation::InProcess => None,
            Isolation::Process(launch) => Some(Workers::new(launch.clone())),
        })
    }
}

/// Reads tags of one file after the other.
pub(crate) struct TagReader(Option<Workers>);

impl TagReader {
    /// A file's tags, cover left out. Never fails, as [`tags::read`].
    pub(crate) fn read(&mut self, path: &Path) -> Tags {
        let embedded = match (&mut self.0, File::open(path)) {
            (_, Err(_)) => Tags::default(),
            (None, Ok(file)) => tags::embedded(file).0,
            (Some(workers), Ok(file)) => workers.tags(&file).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "tags not read");
                Tags::default()
            }),
        };
        tags::complete(path, embedded, None).0
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| source::Error::Io(error).into())
}
