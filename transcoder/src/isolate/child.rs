//! The process of a file: takes requests from its standard input, which is a socket, until that
//! ends.
//!
//! Single-threaded until it is confined, and has no file of a stranger before.

use std::{
    fs::File,
    io::{self, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{
    confine,
    wire::{self, Fault, Hello, MAX_HANDED, Reply, Request},
};
use crate::{Error, job, preroll, tags};

/// Between two signs of progress.
const SIGN: Duration = Duration::from_millis(100);

/// Panics that are put on standard error; more would only fill the pipe.
const MAX_PANICS: u32 = 8;

/// Serves the requests of the process that started this one; what `main` has to return. Call it
/// before any thread is started: it takes most of the process's rights away.
pub fn serve() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "all that is left to say it with")]
            {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    confine::close_others()?;
    quiet_panics();
    let socket = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let (hello, _) = receive(&socket)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let hello: Hello = wire::parse_json(&hello)?;
    let ready = confine::confine(&hello)?;
    wire::write_json(&socket, 0, &ready)?;
    while let Some((request, files)) = receive(&socket)? {
        let request: Request = wire::parse_json(&request)?;
        let mut files = files.into_iter().map(File::from);
        let source = files.next().ok_or(io::ErrorKind::InvalidInput)?;
        let answer = AssertUnwindSafe(|| answer(&socket, request, source, files.collect()));
        let replies = match catch_unwind(answer) {
            Ok(Ok(replies)) => replies,
            Ok(Err(error)) => vec![Reply::Fault(error.into())],
            Err(panic) => vec![Reply::Fault(panicked(&*panic))],
        };
        for reply in replies {
            reply.write(&socket)?;
        }
    }
    Ok(())
}

/// Panics of decoders are caught where they are called; the parent hears of them in few words.
fn quiet_panics() {
    let left = Mutex::new(MAX_PANICS);
    std::panic::set_hook(Box::new(move |panic| {
        let Ok(mut left) = left.lock() else { return };
        if *left > 0 {
            *left -= 1;
            #[expect(clippy::print_stderr, reason = "for the parent")]
            {
                eprintln!("{panic}");
            }
        }
    }));
}

/// What a panic outside of the decoders means.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Fault {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    if text.contains("failed to spawn thread") {
        return Fault::Memory;
    }
    Fault::Internal(format!("the worker process panicked: {text}"))
}

fn answer(
    socket: &UnixStream,
    request: Request,
    source: File,
    others: Vec<File>,
) -> Result<Vec<Reply>, Error> {
    let signs = Signs {
        socket,
        last: Mutex::new(Instant::now()),
    };
    let on_progress = &|done, total| signs.tell(done, total);
    let mut others = others.into_iter();
    let mut next = || {
        others
            .next()
            .ok_or_else(|| Error::Internal("files are missing".into()))
    };
    Ok(match request {
        Request::Make {
            recipe,
            limits,
            skip,
            lead,
        } => {
            let lead = lead.then(&mut next).transpose()?;
            let bench = job::Bench {
                recipe: &recipe,
                limits: &limits,
                skip: &skip,
                lead,
                spool: &mut next,
                on_progress,
            };
            let outcome = job::encode(source, bench)?;
            vec![Reply::Made(Box::new(outcome.into()))]
        }
        Request::Identify => vec![Reply::Identity(job::identify(source, on_progress)?)],
        Request::Lead { limits } => {
            let (track, scratch) = (next()?, next()?);
            let runs_on = preroll::lead(source, track, &scratch, &limits, on_progress)?;
            vec![Reply::Lead(runs_on)]
        }
        Request::Measure { limits } => {
            vec![Reply::Measured(job::measure(source, &limits, on_progress)?)]
        }
        Request::Tags { cover } => {
            let (tags, art) = tags::embedded(source);
            let art = art.filter(|_| cover).map_or(Vec::new(), |art| art.bytes);
            vec![Reply::Tags(tags), Reply::Cover(art)]
        }
    })
}

/// Tells the parent of progress, which also shows that this process is alive.
struct Signs<'a> {
    socket: &'a UnixStream,
    last: Mutex<Instant>,
}

impl Signs<'_> {
    fn tell(&self, done: u64, total: Option<u64>) -> Result<(), Error> {
        let Ok(mut last) = self.last.lock() else {
            return Ok(());
        };
        if last.elapsed() < SIGN {
            return Ok(());
        }
        *last = Instant::now();
        // A parent that is gone wants no result either.
        Reply::Progress(done, total)
            .write(self.socket)
            .map_err(|_| Error::Cancelled)
    }
}

/// A request's payload and the descriptors that came with it.
type Received = (Vec<u8>, Vec<OwnedFd>);

/// The next request; `None` at the end.
fn receive(socket: &UnixStream) -> io::Result<Option<Received>> {
    let mut head = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDED))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let first = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut head)],
        &mut ancillary,
        flags,
    )?;
    if first.bytes == 0 {
        return Ok(None);
    }
    let files = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    let mut socket = socket;
    socket.read_exact(&mut head[first.bytes..])?;
    let (len, _) = wire::head(head)?;
    let mut payload = vec![0; len];
    socket.read_exact(&mut payload)?;
    Ok(Some((payload, files)))
}
