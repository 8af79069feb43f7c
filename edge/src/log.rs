//! The access log: one JSON object a request, written by a thread of its own.
//!
//! A request never waits for the log: records are appended to a bounded buffer, and dropped and
//! counted when it is full. Targets arrive without tokens; fields of requests are not logged, but for
//! what a player says in CMCD.

use std::{
    cell::RefCell,
    fs::OpenOptions,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Method;
use parking_lot::{Condvar, Mutex};

use crate::{
    config,
    exchange::{Facts, Protocol},
    metrics::{Ended, Metrics},
};

/// Bytes that may wait for the writer; records beyond are dropped.
const BUFFER: usize = 4 << 20;

/// How long the writer gathers before it writes.
const GATHER: Duration = Duration::from_millis(20);

/// Longest part of a target in a record.
const TARGET_MAX: usize = 1024;

/// A handle to append records with; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    shared: Arc<Shared>,
}

/// Buffer between requests and the writer.
struct Shared {
    /// Whether records are wanted at all.
    on: AtomicBool,
    pending: Mutex<Vec<u8>>,
    /// Where to write from the next batch on.
    next: Mutex<Option<Output>>,
    filled: Condvar,
    closing: AtomicBool,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("on", &self.on).finish()
    }
}

/// Where records are written; none throws them away.
pub(crate) type Output = Option<Box<dyn Write + Send>>;

/// The writer's end; flushes when closed.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What one record says.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub method: &'a Method,
    pub protocol: Protocol,
    pub peer: SocketAddr,
    pub facts: &'a Facts,
    pub end: &'a Ended,
    pub first_byte: Option<Duration>,
}

/// Opens what a configuration names.
///
/// # Errors
/// Where the file can't be opened for appending.
pub(crate) fn output(to: &config::AccessLog) -> io::Result<Output> {
    Ok(match to {
        config::AccessLog::Off => None,
        config::AccessLog::Stdout => Some(Box::new(io::stdout())),
        config::AccessLog::File(path) => Some(Box::new(
            OpenOptions::new().create(true).append(true).open(path)?,
        )),
    })
}

/// Opens the log.
///
/// # Errors
/// Where the file can't be opened for appending.
pub(crate) fn open(
    to: &config::AccessLog,
    metrics: Arc<Metrics>,
) -> io::Result<(AccessLog, Writer)> {
    let out = output(to)?;
    let shared = Arc::new(Shared {
        on: AtomicBool::new(out.is_some()),
        pending: Mutex::default(),
        next: Mutex::default(),
        filled: Condvar::new(),
        closing: AtomicBool::new(false),
        metrics,
    });
    let theirs = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || write_all(&theirs, out))?;
    let log = AccessLog {
        shared: Arc::clone(&shared),
    };
    let thread = Some(thread);
    Ok((log, Writer { shared, thread }))
}

/// The writer's loop: wait, gather, swap, write.
fn write_all(shared: &Shared, mut out: Output) {
    let mut batch = Vec::new();
    loop {
        {
            let mut pending = shared.pending.lock();
            while pending.is_empty() && !shared.closing.load(Relaxed) {
                shared.filled.wait(&mut pending);
            }
        }
        let closing = shared.closing.load(Relaxed);
        if !closing {
            std::thread::sleep(GATHER);
        }
        std::mem::swap(&mut batch, &mut *shared.pending.lock());
        if let Some(next) = shared.next.lock().take() {
            out = next;
        }
        if batch.is_empty() && closing {
            return;
        }
        if let Some(out) = &mut out
            && let Err(e) = out.write_all(&batch).and_then(|()| out.flush())
        {
            let lost = batch.iter().filter(|b| **b == b'\n').count() as u64;
            shared.metrics.log_dropped.fetch_add(lost, Relaxed);
            tracing::error!(error = %e, "access log");
        }
        batch.clear();
    }
}

impl Writer {
    /// Writes what is pending and ends the thread. Blocks for as long as the writing takes.
    pub(crate) fn close(mut self) {
        let pending = self.shared.pending.lock();
        self.shared.closing.store(true, Relaxed);
        self.shared.filled.notify_all();
        drop(pending);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's writer panicked");
        }
    }
}

impl AccessLog {
    /// Writes to another place from now on: what is pending may go to either. A file of the same
    /// name is another file once the old one was renamed, which is how logs are rotated.
    pub(crate) fn redirect(&self, to: Output) {
        let on = to.is_some();
        *self.shared.next.lock() = Some(to);
        self.shared.on.store(on, Relaxed);
    }

    /// Appends a record, or drops and counts it where the buffer is full. Formats outside of the
    /// lock and without allocating, once the thread's scratch has grown to its lines.
    pub(crate) fn append(&self, record: &Record<'_>) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let shared = &self.shared;
        if !shared.on.load(Relaxed) {
            return;
        }
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        SCRATCH.with_borrow_mut(|line| {
            line.clear();
            write_record(line, since_epoch, record);
            let mut pending = shared.pending.lock();
            if pending.len() >= BUFFER {
                drop(pending);
                shared.metrics.log_dropped.fetch_add(1, Relaxed);
                return;
            }
            let first = pending.is_empty();
            pending.extend_from_slice(line);
            drop(pending);
            if first {
                shared.filled.notify_one();
            }
        });
    }
}

/// One line. Field names are those of docs/edge.md.
fn write_record(out: &mut Vec<u8>, now: Duration, record: &Record<'_>) {
    let Record {
        method,
        protocol,
        peer,
        facts,
        end,
        first_byte,
    } = record;
    out.extend_from_slice(b"{\"time\":");
    number(out, now.as_secs());
    let ms = now.subsec_millis();
    let digit = |n: u32| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms)]);
    out.extend_from_slice(b",\"peer\":\"");
    match peer.ip() {
        IpAddr::V4(ip) => {
            for (i, byte) in ip.octets().into_iter().enumerate() {
                out.extend_from_slice(if i > 0 { b"." } else { b"" });
                number(out, byte);
            }
        }
        // Writing to a Vec can't fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
    out.extend_from_slice(b"\",\"protocol\":\"");
    out.extend_from_slice(protocol.as_str().as_bytes());
    out.extend_from_slice(b"\",\"method\":");
    write_text(out, method.as_str(), 32);
    out.extend_from_slice(b",\"target\":");
    match &facts.target {
        Some(target) => write_text(out, target.as_str(), TARGET_MAX),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"status\":");
    number(out, end.status);
    out.extend_from_slice(b",\"bytes\":");
    number(out, end.bytes);
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(facts.outcome.as_str().as_bytes());
    out.extend_from_slice(b"\",\"duration_us\":");
    number(out, end.time.as_micros());
    if let Some(first_byte) = first_byte {
        out.extend_from_slice(b",\"first_byte_us\":");
        number(out, first_byte.as_micros());
    }
    if !end.complete {
        out.extend_from_slice(b",\"aborted\":true");
    }
    if let Some(reason) = facts.reason {
        out.extend_from_slice(b",\"reason\":");
        write_text(out, reason, 128);
    }
    if let Some(subject) = &facts.subject {
        out.extend_from_slice(b",\"subject\":");
        write_text(out, subject, 128);
    }
    if let Some(status) = facts.upstream_status {
        let _ = write!(out, ",\"upstream_status\":{}", status.as_u16());
    }
    if let Some(wait) = facts.upstream_wait {
        let _ = write!(out, ",\"upstream_us\":{}", wait.as_micros());
    }
    if let Some(trace) = &facts.trace {
        let _ = write!(out, ",\"trace\":\"{:032x}\"", trace.trace_id);
    }
    if let Some(cmcd) = &facts.cmcd {
        out.extend_from_slice(b",\"cmcd\":");
        cmcd.write_json(out);
    }
    out.extend_from_slice(b"}\n");
}

/// A number in digits.
fn number(out: &mut Vec<u8>, n: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// A JSON string of at most `max` bytes of `text` (cut at a character).
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str, max: usize) {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push(b'"');
    let text = &text[..end];
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20.. => out.push(byte),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::StatusCode;

    use super::*;
    use crate::exchange::Outcome;

    #[test]
    fn a_record_is_one_json_object() {
        let facts = Facts {
            outcome: Outcome::Miss,
            target: Some(
                "/a\u{7f}\"b?c=1"
                    .parse()
                    .unwrap_or_else(|_| "/a?c=1".parse().unwrap()),
            ),
            subject: Some("me\n\"".into()),
            reason: None,
            upstream_status: Some(StatusCode::OK),
            upstream_wait: Some(Duration::from_millis(3)),
            cmcd: crate::cmcd::Cmcd::of_text("br=96,sid=\"s\",bs,ot=a,bogus"),
            ..Facts::default()
        };
        let end = Ended {
            outcome: Outcome::Miss,
            status: 206,
            bytes: 5,
            complete: false,
            time: Duration::from_micros(77),
        };
        let record = Record {
            method: &Method::GET,
            protocol: Protocol::H2,
            peer: "192.0.2.1:5".parse().unwrap(),
            facts: &facts,
            end: &end,
            first_byte: Some(Duration::from_micros(50)),
        };
        let mut out = Vec::new();
        write_record(&mut out, Duration::from_millis(1_234), &record);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], 1.234);
        assert_eq!(value["subject"], "me\n\"");
        assert_eq!(value["outcome"], "miss");
        assert_eq!(value["aborted"], true);
        assert_eq!(value["upstream_us"], 3000);
        let cmcd = serde_json::json!({"br": 96, "sid": "s", "bs": true, "ot": "a"});
        assert_eq!(value["cmcd"], cmcd);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
    }

    #[test]
    fn what_was_appended_is_in_the_file_after_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let metrics = Arc::new(Metrics::default());
        let (log, writer) = open(&config::AccessLog::File(path.clone()), metrics).unwrap();
        let facts = Facts::default();
        let end = Ended {
            outcome: Outcome::Hit,
            status: 200,
            bytes: 0,
            complete: true,
            time: Duration::from_micros(1),
        };
        for _ in 0..1000 {
            log.append(&Record {
                method: &Method::GET,
                protocol: Protocol::H1,
                peer: "[::1]:9".parse().unwrap(),
                facts: &facts,
                end: &end,
                first_byte: None,
            });
        }
        writer.close();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }

    #[test]
    fn a_renamed_file_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("a.log"), dir.path().join("a.log.1"));
        let to = config::AccessLog::File(path.clone());
        let (log, writer) = open(&to, Arc::new(Metrics::default())).unwrap();
        let facts = Facts::default();
        let end = Ended {
            outcome: Outcome::Hit,
            status: 200,
            bytes: 0,
            complete: true,
            time: Duration::from_micros(1),
        };
        let append = || {
            log.append(&Record {
                method: &Method::GET,
                protocol: Protocol::H1,
                peer: "[::1]:9".parse().unwrap(),
                facts: &facts,
                end: &end,
                first_byte: None,
            });
        };
        append();
        while std::fs::metadata(&path).unwrap().len() == 0 {
            std::thread::sleep(GATHER);
        }
        std::fs::rename(&path, &old).unwrap();
        log.redirect(output(&to).unwrap());
        append();
        append();
        writer.close();
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&old), lines(&path)), (1, 2));
    }
}
