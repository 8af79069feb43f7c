//! The access log: one JSON object a request, written by a thread of its own.
//!
//! A request never waits for the log: records are appended to a bounded buffer, and dropped and
//! counted when it is full. Targets arrive without tokens; fields of requests are not logged.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::SocketAddr,
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
    shared: Option<Arc<Shared>>,
}

/// Buffer between requests and the writer.
#[derive(Debug)]
struct Shared {
    pending: Mutex<Vec<u8>>,
    filled: Condvar,
    closing: AtomicBool,
    metrics: Arc<Metrics>,
}

/// The writer's end; flushes when closed.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Option<Arc<Shared>>,
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

/// Opens the log.
///
/// # Errors
/// Where the file can't be opened for appending.
pub(crate) fn open(
    to: &config::AccessLog,
    metrics: Arc<Metrics>,
) -> io::Result<(AccessLog, Writer)> {
    let out: Box<dyn Write + Send> = match to {
        config::AccessLog::Off => {
            return Ok((
                AccessLog { shared: None },
                Writer {
                    shared: None,
                    thread: None,
                },
            ));
        }
        config::AccessLog::Stdout => Box::new(io::stdout()),
        config::AccessLog::File(path) => {
            Box::new(OpenOptions::new().create(true).append(true).open(path)?)
        }
    };
    let shared = Arc::new(Shared {
        pending: Mutex::new(Vec::with_capacity(64 << 10)),
        filled: Condvar::new(),
        closing: AtomicBool::new(false),
        metrics,
    });
    let theirs = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || write_all(&theirs, out))?;
    Ok((
        AccessLog {
            shared: Some(Arc::clone(&shared)),
        },
        Writer {
            shared: Some(shared),
            thread: Some(thread),
        },
    ))
}

/// The writer's loop: wait, gather, swap, write.
fn write_all(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut batch = Vec::with_capacity(64 << 10);
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
        if batch.is_empty() && closing {
            return;
        }
        if let Err(e) = out.write_all(&batch).and_then(|()| out.flush()) {
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
        if let Some(shared) = self.shared.take() {
            let pending = shared.pending.lock();
            shared.closing.store(true, Relaxed);
            shared.filled.notify_all();
            drop(pending);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's writer panicked");
        }
    }
}

impl AccessLog {
    /// Appends a record, or drops and counts it where the buffer is full.
    pub(crate) fn append(&self, record: &Record<'_>) {
        let Some(shared) = &self.shared else { return };
        let mut pending = shared.pending.lock();
        if pending.len() >= BUFFER {
            shared.metrics.log_dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = pending.is_empty();
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        write_record(&mut pending, since_epoch, record);
        drop(pending);
        if first {
            shared.filled.notify_one();
        }
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
    // Writing to a Vec can't fail.
    let _ = write!(
        out,
        "{{\"time\":{}.{:03},\"peer\":\"{}\",\"protocol\":\"{}\",\"method\":",
        now.as_secs(),
        now.subsec_millis(),
        peer.ip(),
        protocol.as_str(),
    );
    write_text(out, method.as_str(), 32);
    out.extend_from_slice(b",\"target\":");
    match &facts.target {
        Some(target) => write_text(out, target.as_str(), TARGET_MAX),
        None => out.extend_from_slice(b"null"),
    }
    let _ = write!(
        out,
        ",\"status\":{},\"bytes\":{},\"outcome\":\"{}\",\"duration_us\":{}",
        end.status,
        end.bytes,
        facts.outcome.as_str(),
        end.time.as_micros(),
    );
    if let Some(first_byte) = first_byte {
        let _ = write!(out, ",\"first_byte_us\":{}", first_byte.as_micros());
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
    out.extend_from_slice(b"}\n");
}

/// A JSON string of at most `max` bytes of `text` (cut at a character).
fn write_text(out: &mut Vec<u8>, text: &str, max: usize) {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push(b'"');
    for byte in text[..end].bytes() {
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
}
