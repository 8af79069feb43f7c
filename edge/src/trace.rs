//! Traces (W3C Trace Context, OTLP over HTTP in JSON): one span a sampled request, one more for its
//! wait for the upstream. Off unless a collector is configured.
//!
//! A request never waits for the collector: spans go through a bounded queue to one task, and are
//! dropped and counted when it is full or the collector does not answer.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{exchange::Protocol, log::Record, metrics::Metrics};

/// Spans that may wait for the collector.
const QUEUE: usize = 2048;

/// Requests whose spans go in one message.
const BATCH: usize = 512;

/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of its answer that are read.
const ANSWER_MAX: usize = 64 << 10;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Settings of traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The collector: `http://host:4318/v1/traces`. None, and nothing is traced; a client's
    /// `traceparent` then passes through untouched.
    pub endpoint: Option<String>,
    /// Share of requests that begin a trace, 0 to 1. 0.01.
    pub sample: f64,
    /// Requests traced a second at most, those included whose client has sampled them: nobody
    /// outside can fill the collector. 100.
    pub per_second: u64,
    /// `service.name`. `segue-edge`.
    pub service: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 0.01,
            per_second: 100,
            service: "segue-edge".into(),
        }
    }
}

impl Settings {
    /// What is out of range, one sentence each.
    pub(crate) fn faults(&self, faults: &mut Vec<String>) {
        if let Some(endpoint) = &self.endpoint {
            let uri = endpoint.parse::<Uri>().ok();
            let plain = uri.is_some_and(|u| u.scheme_str() == Some("http") && u.host().is_some());
            if !plain {
                faults.push(format!(
                    "traces.endpoint is `{endpoint}`; it must be an http:// URL, \
                     for example http://127.0.0.1:4318/v1/traces"
                ));
            }
        }
        if !(0.0..=1.0).contains(&self.sample) {
            faults.push(format!(
                "traces.sample is {}; it must be between 0 and 1",
                self.sample
            ));
        }
    }
}

/// A sampled request's place in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The whole trace.
    pub(crate) trace_id: u128,
    /// The request here.
    span_id: u64,
    /// The request at the client, if it told.
    parent: Option<u64>,
    /// Our request to the upstream, should there be one.
    client_id: u64,
}

/// Begins and ends spans; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Hashes at or under this begin a trace.
    threshold: u64,
    per_second: u64,
    ids: RandomState,
    count: AtomicU64,
    started: Instant,
    /// The second under way since `started`, and what was sampled in it.
    second: AtomicU64,
    sampled: AtomicU64,
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

/// The exporter's task; ends when closed.
#[derive(Debug)]
pub(crate) struct Exporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A request that is over.
#[derive(Debug)]
struct Span {
    trace: Trace,
    end_ns: u128,
    took: Duration,
    wait: Option<Duration>,
    method: Method,
    target: String,
    protocol: Protocol,
    peer: IpAddr,
    status: u16,
    upstream_status: Option<u16>,
    outcome: &'static str,
    bytes: u64,
    complete: bool,
}

/// Starts tracing, if a collector is configured. Must run inside a tokio runtime.
pub(crate) fn start(settings: &Settings, metrics: &Arc<Metrics>) -> Option<(Tracer, Exporter)> {
    let endpoint: Uri = settings.endpoint.as_deref()?.parse().ok()?;
    let (queue, spans) = mpsc::channel(QUEUE);
    let stop = CancellationToken::new();
    let exported = export(
        endpoint,
        settings.service.clone(),
        spans,
        stop.clone(),
        Arc::clone(metrics),
    );
    let task = tokio::spawn(exported);
    let tracer = Tracer(Arc::new(Inner {
        threshold: (settings.sample.clamp(0.0, 1.0) * u64::MAX as f64) as u64,
        per_second: settings.per_second,
        ids: RandomState::new(),
        count: AtomicU64::new(0),
        started: Instant::now(),
        second: AtomicU64::new(0),
        sampled: AtomicU64::new(0),
        queue,
        metrics: Arc::clone(metrics),
    }));
    Some((tracer, Exporter { stop, task }))
}

impl Tracer {
    /// Begins a span, if the request is to be traced: because its client does, or by chance. The
    /// fields then carry our request to the upstream as parent of what happens there.
    pub(crate) fn begin(&self, headers: &mut HeaderMap) -> Option<Trace> {
        let inner = &self.0;
        let parent = headers.get(&TRACEPARENT).and_then(parse);
        let id = || inner.ids.hash_one(inner.count.fetch_add(1, Relaxed));
        let wanted = match parent {
            Some(parent) if parent.sampled => true,
            _ => inner.threshold > 0 && id() <= inner.threshold,
        };
        if !wanted || !inner.within_budget() {
            return None;
        }
        let trace = Trace {
            trace_id: parent
                .map_or_else(|| u128::from(id()) << 64 | u128::from(id()), |p| p.trace_id),
            span_id: id().max(1),
            parent: parent.map(|p| p.span_id),
            client_id: id().max(1),
        };
        let field = format!("00-{:032x}-{:016x}-01", trace.trace_id, trace.client_id);
        if let Ok(value) = HeaderValue::try_from(field) {
            headers.insert(TRACEPARENT.clone(), value);
        }
        Some(trace)
    }

    /// Ends a span; drops and counts it where the queue is full.
    pub(crate) fn end(&self, trace: &Trace, record: &Record<'_>) {
        let facts = record.facts;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let span = Span {
            trace: trace.clone(),
            end_ns: now.unwrap_or_default().as_nanos(),
            took: record.end.time,
            wait: facts.upstream_wait,
            method: record.method.clone(),
            target: facts.target.as_ref().map_or("", |t| t.as_str()).to_owned(),
            protocol: record.protocol,
            peer: record.peer.ip(),
            status: record.end.status,
            upstream_status: facts.upstream_status.map(|s| s.as_u16()),
            outcome: facts.outcome.as_str(),
            bytes: record.end.bytes,
            complete: record.end.complete,
        };
        if self.0.queue.try_send(span).is_err() {
            self.0.metrics.spans_dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Inner {
    /// Whether this second has room for another. Two threads at a second's turn may let a few more
    /// in, which costs nothing.
    fn within_budget(&self) -> bool {
        let now = self.started.elapsed().as_secs();
        if self.second.swap(now, Relaxed) != now {
            self.sampled.store(0, Relaxed);
        }
        self.sampled.fetch_add(1, Relaxed) < self.per_second
    }
}

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// Reads a `traceparent` (W3C Trace Context §3.2.2): version, trace, parent, flags; later versions
/// may say more behind them.
fn parse(value: &HeaderValue) -> Option<Parent> {
    let text = value.to_str().ok()?;
    let mut parts = text.split('-');
    let hex = |part: Option<&str>, digits: usize| -> Option<u128> {
        let part = part.filter(|p| p.len() == digits)?;
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        part.bytes().all(lower).then_some(())?;
        u128::from_str_radix(part, 16).ok()
    };
    let version = hex(parts.next(), 2).filter(|v| *v != 0xff)?;
    let trace_id = hex(parts.next(), 32).filter(|id| *id != 0)?;
    let span_id = hex(parts.next(), 16).filter(|id| *id != 0)?;
    let flags = hex(parts.next(), 2)?;
    if version == 0 && parts.next().is_some() {
        return None;
    }
    Some(Parent {
        trace_id,
        span_id: u64::try_from(span_id).ok()?,
        sampled: flags & 1 == 1,
    })
}

impl Exporter {
    /// Sends what is queued and ends.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Sends batches until stopped, then what is left.
async fn export(
    endpoint: Uri,
    service: String,
    mut spans: mpsc::Receiver<Span>,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut batch = Vec::with_capacity(BATCH);
    let mut complained = false;
    loop {
        let stopped = tokio::select! {
            () = tokio::time::sleep(GATHER) => false,
            () = stop.cancelled() => true,
        };
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
            if batch.len() == BATCH {
                break;
            }
        }
        if batch.is_empty() {
            if stopped {
                return;
            }
            continue;
        }
        let sent: u64 = batch.iter().map(|s| 1 + u64::from(s.wait.is_some())).sum();
        let message = message(&service, &batch).to_string();
        batch.clear();
        match tokio::time::timeout(PATIENCE, send(&client, &endpoint, message)).await {
            Ok(Ok(())) => {
                complained = false;
                metrics.spans_sent.fetch_add(sent, Relaxed);
            }
            failed => {
                metrics.spans_dropped.fetch_add(sent, Relaxed);
                if !complained {
                    let error = failed.map_or_else(
                        |_| "no answer in time".into(),
                        |r| r.err().unwrap_or_default(),
                    );
                    tracing::warn!(%endpoint, error, "the collector takes no spans");
                    complained = true;
                }
                if stopped {
                    return;
                }
            }
        }
    }
}

type HttpClient = Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>;

async fn send(client: &HttpClient, endpoint: &Uri, message: String) -> Result<(), String> {
    let request = http::Request::post(endpoint.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(message)))
        .map_err(|e| e.to_string())?;
    let answer = client.request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let read = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    match status.is_success() {
        true => read.map(|_| ()).map_err(|e| e.to_string()),
        false => Err(format!("status {status}")),
    }
}

/// An `ExportTraceServiceRequest` in JSON: ids in hexadecimal, 64-bit numbers as text.
fn message(service: &str, batch: &[Span]) -> Value {
    let spans: Vec<Value> = batch.iter().flat_map(spans).collect();
    let resource = json!({ "attributes": [
        text("service.name", service),
        text("service.version", env!("CARGO_PKG_VERSION")),
    ]});
    json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": { "name": "segue" }, "spans": spans }],
    }]})
}

fn spans(span: &Span) -> Vec<Value> {
    let trace = &span.trace;
    let start_ns = span.end_ns.saturating_sub(span.took.as_nanos());
    let (path, query) = span.target.split_once('?').unwrap_or((&span.target, ""));
    let mut attributes = vec![
        text("http.request.method", span.method.as_str()),
        text("url.path", path),
        text("client.address", &span.peer.to_string()),
        text("network.protocol.version", span.protocol.via()),
        text("segue.outcome", span.outcome),
        number("http.response.status_code", u64::from(span.status)),
        number("http.response.body.size", span.bytes),
    ];
    if !query.is_empty() {
        attributes.push(text("url.query", query));
    }
    if !span.complete {
        attributes.push(json!({ "key": "segue.aborted", "value": { "boolValue": true } }));
    }
    // Server span: 2; client span: 3; an error is ours from 500 on (HTTP semantic conventions).
    let mut server = json!({
        "traceId": format!("{:032x}", trace.trace_id),
        "spanId": format!("{:016x}", trace.span_id),
        "name": span.method.as_str(),
        "kind": 2,
        "startTimeUnixNano": start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
        "attributes": attributes,
        "status": { "code": if span.status >= 500 { 2 } else { 0 } },
    });
    if let Some(parent) = trace.parent {
        server["parentSpanId"] = format!("{parent:016x}").into();
    }
    let mut all = vec![server];
    if let Some(wait) = span.wait {
        let status = span.upstream_status.map(u64::from);
        let attributes: Vec<Value> = status
            .map(|s| number("http.response.status_code", s))
            .into_iter()
            .collect();
        all.push(json!({
            "traceId": format!("{:032x}", trace.trace_id),
            "spanId": format!("{:016x}", trace.client_id),
            "parentSpanId": format!("{:016x}", trace.span_id),
            "name": "upstream",
            "kind": 3,
            "startTimeUnixNano": start_ns.to_string(),
            "endTimeUnixNano": (start_ns + wait.as_nanos()).to_string(),
            "attributes": attributes,
            "status": { "code": if status.is_none() { 2 } else { 0 } },
        }));
    }
    all
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let check = |text: &'static str, expected: Option<bool>| {
            let parsed = parse(&HeaderValue::from_static(text));
            assert_eq!(parsed.map(|p| p.sampled), expected, "{text}");
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check(good, Some(true));
        check(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            Some(false),
        );
        check(
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            Some(true),
        );
        check(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            None,
        );
        check(
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            None,
        );
        check(
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            None,
        );
        check(
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            None,
        );
        check("00-0af7-b7ad6b7169203331-01", None);
        check("", None);
    }
}
