//! Asking the upstream for an object: once, however many want it.
//!
//! The first request starts a detached task; the others wait for the head of its response. If that
//! can be stored, all of them read it as it arrives; if not, the first gets it and the others ask
//! for themselves.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT_RANGES, RANGE},
};
use http_body::Body as _;
use tokio::sync::{Notify, oneshot};

use super::{
    disk::Disk,
    fetch,
    fill::{Attached, Fill},
    record::{Arrived, Record, Stored},
    store::{Entry, Store, stripe},
};
use crate::{
    asked::Asked,
    exchange::{BoxBody, Purge, PurgeMode, UpstreamError, UpstreamFault},
    policy::{UnixMs, fields, freshness::Freshness, precondition, storable, validate},
    range,
};

/// How long requests for an object whose answers can't be shared don't wait for each other.
const PASS_MS: u64 = 10_000;

/// How long an upstream that failed isn't asked again for what something stored can stand in for.
const FAILING_MS: u64 = 1_000;

/// One question to the upstream, shared.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Set by an unsafe request: the answer may be older than the change.
    overtaken: AtomicBool,
    shared: OnceLock<Shared>,
    decided: Notify,
}

/// What everyone who waits learns.
#[derive(Clone, Debug)]
pub(crate) enum Shared {
    /// It is stored, or freshened.
    Stored(Answer),
    /// Everyone has to ask for themselves.
    Alone {
        /// The upstream answered with a server error.
        error: bool,
    },
    /// The upstream did not answer.
    Failed(UpstreamError),
}

/// A stored response that has just been asked for.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The response.
    pub(crate) stored: Arc<Stored>,
    /// Its body as it arrives; none where a 304 confirmed what was there.
    fill: Option<Arc<Fill>>,
    /// The upstream's status.
    pub(crate) status: StatusCode,
    /// Fields that are for the first asker only.
    pub(crate) withheld: HeaderMap,
}

impl Answer {
    /// A claim on the body that is arriving, if slice `n` is part of that.
    pub(crate) fn attach(&self, n: u32) -> Option<Attached> {
        self.fill
            .clone()
            .filter(|fill| fill.covers(n))
            .map(Attached::to)
    }
}

/// What the first asker learns.
#[derive(Debug)]
pub(crate) enum Lead {
    /// It is stored, or freshened.
    Stored(Answer),
    /// It can't be stored: here it is.
    Passed {
        /// The response, with the client's own range, if any.
        response: http::Response<BoxBody>,
        /// Whether the upstream was asked for more than the client asked for: the response is
        /// then of no use.
        misfit: bool,
    },
    /// The upstream did not answer.
    Failed(UpstreamError),
}

/// An opening, and what its first asker waits for.
type Begun = (Arc<Opening>, Option<oneshot::Receiver<Lead>>);

/// What an asker learns.
pub(crate) enum Opened {
    /// It asked.
    Led(Lead),
    /// It waited.
    Joined(Shared),
    /// What is stored has changed since it looked: look again.
    Overtaken,
}

/// What is stored for a request already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    /// All that is known of the object.
    pub(crate) record: Option<Arc<Record>>,
    /// The response that the request selects, to be validated.
    pub(crate) stored: Option<Arc<Stored>>,
}

impl Store {
    /// Asks the upstream for an object, or waits for who has asked already.
    pub(crate) async fn open(self: &Arc<Self>, asked: &Arc<Asked>, base: Base) -> Opened {
        let Some((opening, lead)) = self.begin(asked, base) else {
            return Opened::Overtaken;
        };
        match lead {
            Some(lead) => Opened::Led(lead.await.unwrap_or_else(|_| Lead::Failed(abandoned()))),
            None => {
                self.counters.collapsed.fetch_add(1, Ordering::Relaxed);
                Opened::Joined(opening.wait().await)
            }
        }
    }

    /// Asks the upstream for an object unless someone has already; doesn't wait. None where `base`
    /// is out of date.
    pub(crate) fn begin(self: &Arc<Self>, asked: &Arc<Asked>, base: Base) -> Option<Begun> {
        let mut openings = self.openings[stripe(asked.key.0)].lock();
        if let Some(opening) = openings.get(&asked.key) {
            return Some((opening.clone(), None));
        }
        // An opening that ended since the caller looked has left its answer here.
        if let Some(Entry::Record(now)) = self.memory.peek(asked.key.record())
            && !base
                .record
                .as_ref()
                .is_some_and(|then| Arc::ptr_eq(then, &now))
        {
            return None;
        }
        let opening = Arc::new(Opening {
            overtaken: AtomicBool::new(false),
            shared: OnceLock::new(),
            decided: Notify::new(),
        });
        openings.insert(asked.key, opening.clone());
        let (tell, lead) = oneshot::channel();
        let task = Task {
            store: self.clone(),
            asked: asked.clone(),
            base,
            opening: opening.clone(),
        };
        tokio::spawn(async move {
            let lead = task.run().await;
            let _ = tell.send(lead);
        });
        Some((opening, Some(lead)))
    }

    /// Asks the upstream for an object that nobody has asked for yet, unless someone has after
    /// all, and waits until what it sends is here.
    pub(crate) async fn open_ahead(self: &Arc<Self>, asked: &Arc<Asked>, base: Base) {
        if let Some((_, Some(lead))) = self.begin(asked, base)
            && let Ok(Lead::Stored(answer)) = lead.await
            && let Some(fill) = answer.fill
        {
            fill.ended().await;
        }
    }

    /// Forgets what is stored under a key, and what is being asked for.
    pub(crate) fn invalidate(&self, asked: &Asked) {
        if let Some(opening) = self.openings[stripe(asked.key.0)].lock().remove(&asked.key) {
            opening.overtaken.store(true, Ordering::Release);
        }
        let key = asked.key.record();
        let on_disk = |disk: &Arc<Disk>| disk.failed() || disk.may_contain(key);
        if self.memory.contains(key) || self.disk.as_ref().is_some_and(on_disk) {
            let forgotten = self.update(asked, None, |record| Record {
                variants: Vec::new(),
                ..record.clone()
            });
            if !forgotten {
                // The disk would bring it back.
                let url = Purge::Url(asked.target.as_str().to_owned());
                self.purges.note(&url, PurgeMode::Hard);
            }
        }
    }
}

impl Opening {
    async fn wait(&self) -> Shared {
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            decided.as_mut().enable();
            if let Some(shared) = self.shared.get() {
                return shared.clone();
            }
            decided.await;
        }
    }

    fn decide(&self, shared: Shared) {
        let _ = self.shared.set(shared);
        self.decided.notify_waiters();
    }
}

fn abandoned() -> UpstreamError {
    UpstreamError {
        fault: UpstreamFault::Unavailable,
        retryable: false,
        detail: "the fetch was abandoned".into(),
    }
}

/// The task behind an opening.
struct Task {
    store: Arc<Store>,
    asked: Arc<Asked>,
    base: Base,
    opening: Arc<Opening>,
}

impl Drop for Task {
    /// However it ends, even by a panic, nobody is left waiting.
    fn drop(&mut self) {
        let mut openings = self.store.openings[stripe(self.asked.key.0)].lock();
        if openings
            .get(&self.asked.key)
            .is_some_and(|opening| Arc::ptr_eq(opening, &self.opening))
        {
            openings.remove(&self.asked.key);
        }
        drop(openings);
        self.opening.decide(Shared::Failed(abandoned()));
    }
}

/// A response's head with what led to it.
struct Arrival {
    sent: HeaderMap,
    conditional: bool,
    requested: UnixMs,
    received: UnixMs,
    sequence: u64,
}

impl Task {
    async fn run(self) -> Lead {
        let mut request = self.asked.unconditional();
        let stored = self.base.stored.as_deref();
        let conditional = stored
            .is_some_and(|stored| validate::add_conditions(request.headers_mut(), &stored.headers));
        if let Some(range) = self.asked.range {
            request
                .headers_mut()
                .insert(RANGE, range.aligned(self.store.slice));
        }
        let mut sent = request.headers().clone();
        let sequence = self.store.purges.sequence();
        let requested = UnixMs::now();
        let result = self.store.upstream.fetch(request).await;
        let received = UnixMs::now();
        // Selecting fields are the client's, not what this cache adds.
        if conditional {
            fields::strip_conditions(&mut sent);
        }
        match result {
            Err(error) => {
                self.note_failure();
                self.opening.decide(Shared::Failed(error.clone()));
                Lead::Failed(error)
            }
            Ok(mut response) => {
                fields::strip_hop_by_hop(response.headers_mut());
                fields::add_via(response.headers_mut(), "1.1", &self.asked.name);
                self.take(
                    response,
                    Arrival {
                        sent,
                        conditional,
                        requested,
                        received,
                        sequence,
                    },
                )
            }
        }
    }

    fn take(&self, response: http::Response<BoxBody>, arrival: Arrival) -> Lead {
        let status = response.status();
        if let (StatusCode::NOT_MODIFIED, true, Some(stored)) =
            (status, arrival.conditional, &self.base.stored)
        {
            return self.confirm(stored, response.headers(), &arrival);
        }
        let stored = match status {
            _ if self.opening.overtaken.load(Ordering::Acquire) => Err(response.into()),
            // What is stored may have to stand in for it.
            _ if status.is_server_error() && self.base.stored.is_some() => Err(response.into()),
            StatusCode::PARTIAL_CONTENT => self.store_part(response, arrival),
            _ => self.store_whole(response, arrival),
        };
        match stored {
            Ok(answer) => {
                self.opening.decide(Shared::Stored(answer.clone()));
                Lead::Stored(answer)
            }
            Err(response) => self.pass(*response),
        }
    }

    /// A 304: what is stored is still good, under new fields.
    fn confirm(&self, stored: &Arc<Stored>, update: &HeaderMap, arrival: &Arrival) -> Lead {
        let fresh = stored.freshened(
            update.clone(),
            arrival.requested,
            arrival.received,
            arrival.sequence,
        );
        let stored = Arc::new(fresh);
        if !self.opening.overtaken.load(Ordering::Acquire) {
            self.store
                .update(&self.asked, self.base.record.as_ref(), |record| {
                    record.with(stored.clone())
                });
        }
        let answer = Answer {
            stored,
            fill: None,
            status: StatusCode::NOT_MODIFIED,
            withheld: HeaderMap::new(),
        };
        self.opening.decide(Shared::Stored(answer.clone()));
        Lead::Stored(answer)
    }

    /// A response with the whole body.
    fn store_whole(
        &self,
        response: http::Response<BoxBody>,
        arrival: Arrival,
    ) -> Result<Answer, Box<http::Response<BoxBody>>> {
        let status = response.status();
        let freshness = Freshness::of(response.headers(), arrival.requested, arrival.received);
        if let Err(why) = storable::check(&arrival.sent, status, response.headers(), &freshness) {
            tracing::trace!(why = why.as_str(), "not stored");
            return Err(response.into());
        }
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        let size = if bodiless {
            Some(0)
        } else {
            response.body().size_hint().exact()
        };
        let size = size.or_else(|| content_length(response.headers()));
        let ranges = response
            .headers()
            .get(ACCEPT_RANGES)
            .is_none_or(|v| !v.as_bytes().eq_ignore_ascii_case(b"none"));
        Ok(self.store_body(
            response,
            arrival,
            Whole {
                status,
                size,
                ranges,
            },
            (0, size),
        ))
    }

    /// A response with a range of the body, asked for as whole slices.
    fn store_part(
        &self,
        response: http::Response<BoxBody>,
        arrival: Arrival,
    ) -> Result<Answer, Box<http::Response<BoxBody>>> {
        let headers = response.headers();
        let part = self.asked.range.and(range::content_range(headers));
        let (Some((got, Some(size))), Some(_)) = (part, precondition::strong_etag(headers)) else {
            return Err(response.into());
        };
        let freshness = Freshness::of(headers, arrival.requested, arrival.received);
        if storable::check(&arrival.sent, StatusCode::OK, headers, &freshness).is_err() {
            return Err(response.into());
        }
        let (mut head, body) = response.into_parts();
        head.headers.remove(http::header::CONTENT_RANGE);
        let response = http::Response::from_parts(head, body);
        let whole = Whole {
            status: StatusCode::OK,
            size: Some(size),
            ranges: true,
        };
        Ok(self.store_body(response, arrival, whole, (got.start, Some(got.end))))
    }

    /// Stores a response and starts the task that brings its body, of which `part` is arriving.
    fn store_body(
        &self,
        response: http::Response<BoxBody>,
        arrival: Arrival,
        whole: Whole,
        part: (u64, Option<u64>),
    ) -> Answer {
        let status = response.status();
        let (head, body) = response.into_parts();
        let withheld = withheld(&head.headers, &arrival);
        let stored = Arc::new(Stored::new(
            self.store.new_id(self.asked.key),
            Arrived {
                request: &arrival.sent,
                status: whole.status,
                headers: head.headers,
                size: whole.size,
                ranges: whole.ranges,
                requested: arrival.requested,
                received: arrival.received,
                sequence: arrival.sequence,
            },
        ));
        let (start, end) = part;
        let last = end.map_or(u32::MAX, |end| {
            self.store.slice_number(end.saturating_sub(1)) + 1
        });
        let fill = Arc::new(Fill::new((self.store.slice_number(start), last), start));
        if !self.asked.ahead {
            fill.want();
        }
        self.store.enlist(stored.id, &fill);
        self.store
            .update(&self.asked, self.base.record.as_ref(), |record| {
                record.with(stored.clone())
            });
        tokio::spawn(fetch::fill_body(
            self.store.clone(),
            self.asked.clone(),
            stored.clone(),
            fill.clone(),
            part,
            body,
        ));
        Answer {
            stored,
            fill: Some(fill),
            status,
            withheld,
        }
    }

    /// Spares an upstream that failed, where something stored may stand in.
    fn note_failure(&self) {
        if self.base.stored.is_some() {
            let failing_until = UnixMs(UnixMs::now().0 + FAILING_MS);
            self.store
                .update(&self.asked, self.base.record.as_ref(), |record| Record {
                    failing_until,
                    ..record.clone()
                });
        }
    }

    /// A response that can't be stored: the first asker's alone.
    fn pass(&self, response: http::Response<BoxBody>) -> Lead {
        let error = response.status().is_server_error();
        if error {
            self.note_failure();
        }
        // Others are waiting, so others will come: let them ask side by side for a while.
        if Arc::strong_count(&self.opening) > 3 && !error {
            let pass_until = UnixMs(UnixMs::now().0 + PASS_MS);
            self.store
                .update(&self.asked, self.base.record.as_ref(), |record| Record {
                    pass_until,
                    ..record.clone()
                });
        }
        let sent = self
            .asked
            .range
            .map(|range| range.aligned(self.store.slice));
        let misfit = response.status() == StatusCode::PARTIAL_CONTENT
            && sent.as_ref() != self.asked.headers.get(RANGE);
        self.opening.decide(Shared::Alone { error });
        Lead::Passed { response, misfit }
    }
}

/// What a response says of the whole body.
struct Whole {
    status: StatusCode,
    size: Option<u64>,
    ranges: bool,
}

/// The fields that `no-cache` and `private` name: the first asker gets them, nobody else.
fn withheld(headers: &HeaderMap, arrival: &Arrival) -> HeaderMap {
    let names = Freshness::of(headers, arrival.requested, arrival.received)
        .directives
        .withheld;
    let mut withheld = HeaderMap::new();
    for name in names {
        for value in headers.get_all(&name) {
            withheld.append(&name, value.clone());
        }
    }
    withheld
}

/// `Content-Length`, where it is one number.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
