//! Starts worker processes, talks to them, and ends those that break their bounds.
//!
//! Blocking: a call starts its process, sees it to its end and stays on its thread meanwhile (the
//! kernel ends a process whose parent's thread is gone). Nothing that comes back is trusted.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{self, Command, Stdio},
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use manifests::Tags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{
    Bounds, Fate, Launch, OnProgress, Order,
    wire::{self, Hello, Inbox, MAX_HANDED, MAX_RUNGS, Ready, Reply, Request, Sheet},
};
use crate::{
    Error,
    job::{self, Encoded, Outcome},
    loudness,
    source::Limits,
    tags::CoverArt,
};

/// How often a waiting parent looks at its clock and asks whether to go on.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of standard error that are read.
const LAST_WORDS: u64 = 16 << 10;

/// Files whose tags one process reads: its CPU time counts for all of them.
const TAGS_A_PROCESS: u32 = 200;

type FromTags = (Tags, Option<CoverArt>);

/// Digests a file's coded sound, where it can be found, and reads its tags, in one process.
pub(super) fn identify(
    launch: &Launch,
    source: &File,
    on_progress: OnProgress<'_>,
) -> Result<(Option<[u8; 32]>, FromTags), Error> {
    let mut worker = Worker::start(launch, source, on_progress)?;
    worker.send(&Request::Identify, &[source.as_fd()])?;
    let identity = match worker.reply(on_progress) {
        Ok(Reply::Identity(digest)) => Ok(digest),
        Ok(other) => Err(worker.nonsense(&other)),
        Err(error) => Err(error),
    };
    let identity = job::if_sound(identity)?;
    Ok((identity, worker.tags(source, true, on_progress)?))
}

/// Encodes a file.
pub(super) fn make(launch: &Launch, source: &File, order: &Order<'_>) -> Result<Outcome, Error> {
    let rungs = order.recipe.rungs.len();
    if rungs > MAX_RUNGS {
        return Err(Error::Internal(format!("a recipe of {rungs} rungs")));
    }
    let spools: Vec<File> = (0..rungs)
        .map(|_| tempfile::tempfile_in(order.work_dir).map_err(Error::Spool))
        .collect::<Result<_, _>>()?;
    let files: Vec<_> = std::iter::once(source)
        .chain(order.lead)
        .chain(&spools)
        .map(AsFd::as_fd)
        .collect();
    let mut worker = Worker::start(launch, source, order.on_progress)?;
    let request = Request::Make {
        recipe: order.recipe.clone(),
        limits: *order.limits,
        skip: order.skip.to_vec(),
        lead: order.lead.is_some(),
    };
    worker.send(&request, &files)?;
    let sheet = match worker.reply(order.on_progress)? {
        Reply::Made(sheet) => *sheet,
        other => return Err(worker.nonsense(&other)),
    };
    outcome(sheet, spools)
}

/// Puts the scratch files to what was written into them.
fn outcome(sheet: Sheet, spools: Vec<File>) -> Result<Outcome, Error> {
    let mut renditions = Vec::new();
    let mut spools: Vec<Option<File>> = spools.into_iter().map(Some).collect();
    for page in sheet.renditions {
        let head = hex::decode(&page.head).map_err(|e| Fate::Nonsense(e.to_string()))?;
        let spool = spools.get_mut(page.slot).and_then(Option::take);
        renditions.push(Encoded {
            rendition: page.rendition,
            head,
            slot: page.slot,
            spool: spool.ok_or_else(|| Fate::Nonsense("no such scratch file".into()))?,
        });
    }
    Ok(Outcome {
        format: sheet.format,
        length: sheet.length,
        renditions,
        omitted: sheet.omitted,
        loudness: sheet.loudness,
        meter: sheet.meter,
    })
}

/// Puts the end of `before` into `scratch` where `track` runs on from it.
pub(super) fn lead(
    launch: &Launch,
    before: &File,
    track: &File,
    scratch: &File,
    limits: &Limits,
    on_progress: OnProgress<'_>,
) -> Result<bool, Error> {
    let mut worker = Worker::start(launch, before, on_progress)?;
    let files = [before, track, scratch].map(AsFd::as_fd);
    worker.send(&Request::Lead { limits: *limits }, &files)?;
    match worker.reply(on_progress)? {
        Reply::Lead(runs_on) => Ok(runs_on),
        other => Err(worker.nonsense(&other)),
    }
}

/// Decodes a file for its loudness.
pub(super) fn measure(
    launch: &Launch,
    source: &File,
    limits: &Limits,
    on_progress: OnProgress<'_>,
) -> Result<loudness::State, Error> {
    let mut worker = Worker::start(launch, source, on_progress)?;
    worker.send(&Request::Measure { limits: *limits }, &[source.as_fd()])?;
    match worker.reply(on_progress)? {
        Reply::Measured(state) => Ok(state),
        other => Err(worker.nonsense(&other)),
    }
}

/// Reads tags of many files, in few processes.
pub(super) struct Workers {
    launch: Arc<Launch>,
    worker: Option<Worker>,
    used: u32,
}

impl Workers {
    pub(super) fn new(launch: Arc<Launch>) -> Workers {
        Workers {
            launch,
            worker: None,
            used: 0,
        }
    }

    /// A file's tags, without its cover.
    pub(super) fn tags(&mut self, source: &File) -> Result<Tags, Error> {
        let go_on: OnProgress<'_> = &|_, _| Ok(());
        let mut worker = match self.worker.take() {
            Some(worker) if self.used < TAGS_A_PROCESS => worker,
            _ => {
                self.used = 0;
                Worker::start(&self.launch, source, go_on)?
            }
        };
        let (tags, _) = worker.tags(source, false, go_on)?;
        self.used += 1;
        // One that failed is not used again.
        self.worker = Some(worker);
        Ok(tags)
    }
}

/// A process at work. It ends when this is dropped.
struct Worker {
    process: process::Child,
    socket: UnixStream,
    inbox: Inbox,
    bounds: Bounds,
    cpu: Duration,
    started: Instant,
    ended: bool,
}

impl Worker {
    /// Starts a process for a file, and has it confine itself.
    fn start(launch: &Launch, source: &File, on_progress: OnProgress<'_>) -> Result<Worker, Error> {
        let bytes = source.metadata().map_err(Error::Read)?.len();
        let cpu = launch.bounds.cpu_for(bytes);
        let (process, socket) =
            spawn(launch).map_err(|error| Fate::NotStarted(error.to_string()))?;
        let mut worker = Worker {
            process,
            socket,
            inbox: Inbox::default(),
            bounds: launch.bounds,
            cpu,
            started: Instant::now(),
            ended: false,
        };
        let hello = Hello {
            bounds: launch.bounds,
            cpu,
        };
        worker.send(&hello, &[])?;
        let (_, ready) = worker.frame(on_progress)?;
        let ready = wire::parse_json(&ready).map_err(|e| Fate::NotStarted(e.to_string()))?;
        note(&ready);
        Ok(worker)
    }

    /// Sends a frame with descriptors.
    fn send(
        &mut self,
        what: &impl serde::Serialize,
        files: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        let json = serde_json::to_vec(what).map_err(|e| Error::Internal(e.to_string()))?;
        let frame = wire::frame(0, &json).map_err(|e| Error::Internal(e.to_string()))?;
        self.send_frame(&frame, files)
            .map_err(|error| self.fate(&error).into())
    }

    fn send_frame(&mut self, frame: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDED))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(
            &self.socket,
            &[IoSlice::new(frame)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        self.socket.write_all(&frame[sent..])
    }

    /// A file's tags and cover.
    fn tags(
        &mut self,
        source: &File,
        cover: bool,
        on_progress: OnProgress<'_>,
    ) -> Result<FromTags, Error> {
        self.send(&Request::Tags { cover }, &[source.as_fd()])?;
        match (self.reply(on_progress)?, self.reply(on_progress)?) {
            (Reply::Tags(tags), Reply::Cover(bytes)) => Ok((tags, CoverArt::sniff(bytes))),
            (other, _) => Err(self.nonsense(&other)),
        }
    }

    /// The next reply that is no progress.
    fn reply(&mut self, on_progress: OnProgress<'_>) -> Result<Reply, Error> {
        loop {
            let (kind, payload) = self.frame(on_progress)?;
            match Reply::parse(kind, payload) {
                Ok(Reply::Progress(done, total)) => on_progress(done, total)?,
                Ok(Reply::Fault(fault)) => return Err(fault.within(&self.bounds)),
                Ok(reply) => return Ok(reply),
                Err(error) => return Err(Fate::Nonsense(error.to_string()).into()),
            }
        }
    }

    /// The next frame, within the bounds.
    fn frame(&mut self, on_progress: OnProgress<'_>) -> Result<(u8, Vec<u8>), Error> {
        let mut heard = Instant::now();
        loop {
            match self.inbox.next() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(Fate::Nonsense(error.to_string()).into()),
            }
            match self.inbox.fill(&self.socket) {
                Ok(0) => return Err(self.fate(&io::ErrorKind::UnexpectedEof.into()).into()),
                Ok(_) => heard = Instant::now(),
                Err(error) if is_timeout(&error) => {
                    // Asks only: there is nothing new to tell.
                    on_progress(0, None)?;
                    self.within_bounds(heard)?;
                }
                Err(error) => return Err(self.fate(&error).into()),
            }
        }
    }

    fn within_bounds(&self, heard: Instant) -> Result<(), Fate> {
        let stall = self.bounds.stall;
        if heard.elapsed() >= stall {
            return Err(Fate::Stalled { limit: stall });
        }
        let wall = Bounds::wall_for(self.cpu);
        if self.started.elapsed() >= wall {
            return Err(Fate::Late { limit: wall });
        }
        Ok(())
    }

    /// What became of a process that talks no more.
    fn fate(&mut self, error: &io::Error) -> Fate {
        // It may have closed its socket and go on: then it is ended, and that is its fate.
        let deadline = Instant::now() + Duration::from_secs(5);
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(TICK / 10),
                Ok(None) => return Fate::Nonsense(format!("its socket failed: {error}")),
                Err(error) => return Fate::Nonsense(error.to_string()),
            }
        };
        self.ended = true;
        let words = self.last_words();
        tracing::debug!(%status, words, "a worker process ended early");
        Fate::of(status, &words, &self.bounds, self.cpu)
    }

    fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        if let Some(stderr) = self.process.stderr.take() {
            let _ = stderr.take(LAST_WORDS).read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).into_owned()
    }

    fn nonsense(&self, reply: &Reply) -> Error {
        let what = match reply {
            Reply::Identity(_) => "a digest",
            Reply::Made(_) => "renditions",
            Reply::Measured(_) => "loudness",
            Reply::Lead(_) => "a pre-roll",
            Reply::Tags(_) => "tags",
            Reply::Cover(_) => "a cover",
            Reply::Progress(..) | Reply::Fault(_) => "something",
        };
        Fate::Nonsense(format!("{what} that nobody asked for")).into()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn spawn(launch: &Launch) -> io::Result<(process::Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(TICK))?;
    let process = Command::new(&launch.program)
        .arg0("segue")
        .args(&launch.args)
        .env_clear()
        // Allocators that reserve address space ahead would use the limit up unused.
        .env("MIMALLOC_ARENA_RESERVE", "65536")
        .env("MALLOC_ARENA_MAX", "2")
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok((process, ours))
}

/// Says once where the kernel lacks what keeps processes in.
fn note(ready: &Ready) {
    static SAID: Once = Once::new();
    if !(ready.seccomp && ready.landlock) {
        SAID.call_once(|| {
            tracing::warn!(
                seccomp = ready.seccomp,
                landlock = ready.landlock,
                "this kernel can't keep decoders in by all means; their limits hold"
            );
        });
    }
}
