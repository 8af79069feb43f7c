//! What becomes of an upstream's answer: stored whole, in slices or as a piece, taken as a
//! confirmation of what is stored, or passed on.

use std::sync::Arc;

use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE},
};
use http_body::Body as _;

use super::{
    fetch,
    fill::{Attached, Fill},
    opening::{Answer, Base, Lead, Opening, Shared, abandoned},
    piece::Piece,
    record::{Arrived, Record, Stored},
    store::{Store, stripe},
};
use crate::{
    asked::Asked,
    exchange::BoxBody,
    policy::{
        UnixMs, fields,
        freshness::Freshness,
        precondition,
        storable::{self, NotStored},
        validate,
    },
    purge::Verdict,
    range,
};

/// How long requests for an object whose answers can't be shared don't wait for each other.
const PASS_MS: u64 = 10_000;

/// How long an upstream that failed isn't asked again for what something stored can stand in for.
const FAILING_MS: u64 = 1_000;

/// An answer that isn't stored, and why.
type Refused = (Box<http::Response<BoxBody>>, NotStored);

/// When something was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    /// By the clock.
    pub(super) requested: UnixMs,
    /// Among purges.
    pub(super) sequence: u64,
}

/// What led to a response, and its head's arrival.
struct Arrival {
    /// Fields of the request, without what this cache added to it.
    sent: HeaderMap,
    /// Whether the request was conditional on what is stored.
    conditional: bool,
    timed: Timed,
    received: UnixMs,
}

/// Bytes of a representation that a response brings.
struct Span {
    /// Status of the whole representation.
    status: StatusCode,
    /// Bytes of what is stored, if told.
    size: Option<u64>,
    /// Whether the upstream serves ranges of it.
    ranges: bool,
    /// The bytes that arrive, of what is stored: from, and up to if known.
    part: (u64, Option<u64>),
    /// Where it lies, if what is stored is only a piece of a representation.
    piece: Option<Piece>,
}

impl Store {
    /// The time for what is about to be asked.
    pub(crate) fn now(&self) -> Timed {
        Timed {
            requested: UnixMs::now(),
            sequence: self.purges.sequence(),
        }
    }

    /// Stores the answer to a request that isn't a GET as what a GET is answered with, if that is
    /// allowed and it states how long it is fresh.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        response: http::Response<BoxBody>,
        timed: Timed,
    ) -> Result<Answer, Refused> {
        let received = UnixMs::now();
        if Freshness::of(response.headers(), timed.requested, received)
            .lifetime
            .is_none()
        {
            return Err((response.into(), NotStored::Useless));
        }
        let task = Task::new(self, asked, Base::default(), Opening::new());
        let arrival = Arrival {
            sent: asked.headers.clone(),
            conditional: false,
            timed,
            received,
        };
        task.store_whole(response, arrival)
    }

    /// What is stored, its fields updated by those of an answer that confirms it; kept so, unless
    /// they forbid that, and then what was stored is forgotten.
    pub(crate) fn freshen(
        &self,
        asked: &Asked,
        base: &Base,
        update: HeaderMap,
        timed: Timed,
    ) -> Option<Arc<Stored>> {
        let stored = base.stored.as_ref()?;
        let fresh = Arc::new(stored.freshened(update, timed, UnixMs::now(), &asked.rules));
        if keeps(&HeaderMap::new(), &fresh).is_err() {
            self.void(asked, stored);
        } else if keeps(&asked.headers, &fresh).is_ok() {
            self.update(asked, base.record.as_ref(), |record| {
                record.with(fresh.clone())
            });
        }
        Some(fresh)
    }
}

/// Whether a confirmed response may be kept under its new fields and given to others. That nothing
/// makes it fresh doesn't matter.
fn keeps(request: &HeaderMap, stored: &Stored) -> Result<(), NotStored> {
    let status = StatusCode::OK;
    match storable::check(request, status, &stored.headers, &stored.freshness) {
        Err(NotStored::Useless) => Ok(()),
        other => other,
    }
}

/// The task behind an opening.
pub(super) struct Task {
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

impl Task {
    pub(super) fn new(
        store: &Arc<Store>,
        asked: &Arc<Asked>,
        base: Base,
        opening: Arc<Opening>,
    ) -> Self {
        Self {
            store: store.clone(),
            asked: asked.clone(),
            base,
            opening,
        }
    }

    /// Asks the upstream and sees to its answer.
    pub(super) async fn run(self) -> Lead {
        let mut request = self.asked.unconditional();
        // Selecting fields are the client's, not what this cache adds.
        let sent = request.headers().clone();
        let conditional = match &self.base.stored {
            Some(stored) => validate::add_conditions(request.headers_mut(), &stored.headers),
            None => {
                let others = self.others();
                validate::add_tags(request.headers_mut(), others.map(|stored| &stored.headers))
            }
        };
        if let Some(ranges) = &self.asked.range {
            let aligned = ranges.leading().aligned(self.store.slice);
            request.headers_mut().insert(RANGE, aligned);
        }
        let timed = self.store.now();
        match self.store.upstream.fetch(request).await {
            Err(error) => {
                self.note_failure();
                self.opening.decide(Shared::Failed(error.clone()));
                Lead::Failed(error)
            }
            Ok(mut response) => {
                fields::strip_hop_by_hop(response.headers_mut());
                fields::add_via(response.headers_mut(), "1.1", &self.asked.rules.name);
                let received = UnixMs::now();
                let arrival = Arrival {
                    sent,
                    conditional,
                    timed,
                    received,
                };
                self.take(response, arrival)
            }
        }
    }

    fn take(&self, response: http::Response<BoxBody>, arrival: Arrival) -> Lead {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && arrival.conditional {
            return self.confirm(response, &arrival);
        }
        let stored = if self.opening.is_overtaken() {
            Err((response.into(), NotStored::Overtaken))
        } else if status.is_server_error() && self.base.stored.is_some() {
            // What is stored may have to stand in for it.
            Err((response.into(), NotStored::Error))
        } else if status == StatusCode::PARTIAL_CONTENT {
            self.store_part(response, arrival)
        } else {
            self.store_whole(response, arrival)
        };
        match stored {
            Ok(answer) => {
                self.opening.decide(Shared::Stored(answer.clone()));
                Lead::Stored(answer)
            }
            Err((response, why)) => self.pass(*response, why),
        }
    }

    /// Stored responses that the request doesn't select by its fields, though the upstream may (RFC
    /// 9111 §4.1).
    fn others(&self) -> impl Iterator<Item = &Arc<Stored>> {
        let variants = self.base.record.iter().flat_map(|record| &record.variants);
        variants.filter(move |stored| {
            stored.usable()
                && stored.piece.is_none()
                && self.store.judge(&self.asked, stored) != Verdict::Hard
                && self.store.complete(stored)
        })
    }

    /// What a 304 confirms: what the request selects, or else the variant that it names.
    fn confirmed(&self, named: &HeaderMap, arrival: &Arrival) -> Base {
        let mut base = self.base.clone();
        if base.stored.is_none() {
            let tag = named.get(ETAG);
            let of_tag = |stored: &&Arc<Stored>| tag.is_some() && stored.headers.get(ETAG) == tag;
            let other = self.others().find(of_tag);
            base.stored = other.map(|stored| Arc::new(stored.selected_by(&arrival.sent)));
        }
        base
    }

    /// A 304: what is stored is still good, under new fields.
    fn confirm(&self, response: http::Response<BoxBody>, arrival: &Arrival) -> Lead {
        let timed = arrival.timed;
        let update = response.headers().clone();
        let base = self.confirmed(&update, arrival);
        let fresh = if self.opening.is_overtaken() {
            let fresh = |stored: &Arc<Stored>| {
                Arc::new(stored.freshened(update.clone(), timed, UnixMs::now(), &self.asked.rules))
            };
            base.stored.as_ref().map(fresh)
        } else {
            self.store.freshen(&self.asked, &base, update, timed)
        };
        let Some(stored) = fresh else {
            // The answer to a condition that isn't the client's, and of nothing that is here.
            self.opening.decide(Shared::Alone { error: false });
            return Lead::Passed {
                response,
                misfit: true,
                why: NotStored::Status,
            };
        };
        let alone = keeps(&self.asked.headers, &stored).is_err();
        let answer = Answer {
            stored,
            fill: None,
            status: StatusCode::NOT_MODIFIED,
            withheld: HeaderMap::new(),
        };
        self.opening.decide(if alone {
            Shared::Alone { error: false }
        } else {
            Shared::Stored(answer.clone())
        });
        Lead::Stored(answer)
    }

    /// How long a response is fresh, under this node's rules.
    fn freshness(&self, status: StatusCode, headers: &HeaderMap, arrival: &Arrival) -> Freshness {
        Freshness::of(headers, arrival.timed.requested, arrival.received).or_guessed(
            self.asked.rules.heuristic,
            status,
            headers,
        )
    }

    /// A response with the whole body.
    fn store_whole(
        &self,
        response: http::Response<BoxBody>,
        arrival: Arrival,
    ) -> Result<Answer, Refused> {
        let (status, headers) = (response.status(), response.headers());
        let freshness = self.freshness(status, headers, &arrival);
        if let Err(why) = storable::check(&arrival.sent, status, headers, &freshness) {
            return Err((response.into(), why));
        }
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        let size = if bodiless {
            Some(0)
        } else {
            response.body().size_hint().exact()
        };
        let size = size.or_else(|| content_length(headers));
        let ranges = headers
            .get(ACCEPT_RANGES)
            .is_none_or(|v| !v.as_bytes().eq_ignore_ascii_case(b"none"));
        let span = Span {
            status,
            size,
            ranges,
            part: (0, size),
            piece: None,
        };
        Ok(self.store_body(response, arrival, freshness, span))
    }

    /// A response with a range of the body, asked for as whole slices: slices of the revision that
    /// its strong validator names, or without one a piece that stands for itself.
    fn store_part(
        &self,
        response: http::Response<BoxBody>,
        arrival: Arrival,
    ) -> Result<Answer, Refused> {
        let headers = response.headers();
        let freshness = self.freshness(StatusCode::OK, headers, &arrival);
        if let Err(why) = storable::check(&arrival.sent, StatusCode::OK, headers, &freshness) {
            return Err((response.into(), why));
        }
        let Some((got, total)) = self.asked.range.as_ref().and(range::content_range(headers))
        else {
            return Err((response.into(), NotStored::Range));
        };
        let span = match total {
            Some(size) if precondition::strong_etag(headers).is_some() => Span {
                status: StatusCode::OK,
                size: Some(size),
                ranges: true,
                part: (got.start, Some(got.end)),
                piece: None,
            },
            _ => match self.piece(&response, got, total) {
                Some(span) => span,
                None => return Err((response.into(), NotStored::Range)),
            },
        };
        let (mut head, body) = response.into_parts();
        if span.piece.is_none() {
            head.headers.remove(CONTENT_RANGE);
        }
        let response = http::Response::from_parts(head, body);
        Ok(self.store_body(response, arrival, freshness, span))
    }

    /// A range that is stored as it came. None where it doesn't hold what is asked for, or more
    /// bytes arrive than it names. Fewer are what an origin may send that ends early.
    fn piece(
        &self,
        response: &http::Response<BoxBody>,
        got: std::ops::Range<u64>,
        total: Option<u64>,
    ) -> Option<Span> {
        let named = got.end - got.start;
        let length = response.body().size_hint().exact().unwrap_or(named);
        let piece = Piece {
            first: got.start,
            total,
            asked: self
                .asked
                .range
                .as_ref()?
                .leading()
                .aligned(self.store.slice),
        };
        let holds = length <= named
            && precondition::range_holds(&self.asked.headers, response.headers())
            && piece.cut(length, &self.asked).is_some();
        holds.then_some(Span {
            status: StatusCode::PARTIAL_CONTENT,
            size: Some(length),
            ranges: false,
            part: (0, Some(length)),
            piece: Some(piece),
        })
    }

    /// Stores a response and starts the task that brings its body.
    fn store_body(
        &self,
        response: http::Response<BoxBody>,
        arrival: Arrival,
        freshness: Freshness,
        span: Span,
    ) -> Answer {
        let status = response.status();
        let (head, body) = response.into_parts();
        let withheld = withheld(&head.headers, &freshness);
        let stored = Arc::new(Stored::new(
            self.store.new_id(self.asked.key),
            Arrived {
                request: &arrival.sent,
                status: span.status,
                headers: head.headers,
                size: span.size,
                ranges: span.ranges,
                piece: span.piece,
                freshness,
                timed: arrival.timed,
            },
        ));
        let (start, end) = span.part;
        let last = end.map_or(u32::MAX, |end| {
            self.store.slice_number(end.saturating_sub(1)) + 1
        });
        let first = self.store.slice_number(start);
        let keep = self.store.keep_for(&stored);
        let fill = Arc::new(Fill::new((first, last), start, self.store.slice, keep));
        if !self.asked.ahead {
            fill.want();
        }
        let claim = Attached::waiting(fill.clone(), first);
        self.store.enlist(stored.id, &fill);
        self.store
            .update(&self.asked, self.base.record.as_ref(), |record| {
                record.with(stored.clone())
            });
        tokio::spawn(fetch::fill_body(
            self.store.clone(),
            self.asked.clone(),
            stored.clone(),
            fill,
            span.part,
            body,
        ));
        Answer {
            stored,
            fill: Some(claim),
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
    fn pass(&self, response: http::Response<BoxBody>, why: NotStored) -> Lead {
        tracing::trace!(why = why.as_str(), "not stored");
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
        let misfit = self.is_misfit(response.status());
        self.opening.decide(Shared::Alone { error });
        Lead::Passed {
            response,
            misfit,
            why,
        }
    }

    /// Whether an answer with this status is one to what this cache asked, not to what the client
    /// did: a range of other bytes, or without its condition, or only the first of several.
    fn is_misfit(&self, status: StatusCode) -> bool {
        let Some(ranges) = &self.asked.range else {
            return false;
        };
        let headers = &self.asked.headers;
        let sent = ranges.leading().aligned(self.store.slice);
        match status {
            StatusCode::PARTIAL_CONTENT => {
                headers.get(RANGE) != Some(&sent) || headers.contains_key(IF_RANGE)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                ranges.has_suffix() || headers.contains_key(IF_RANGE)
            }
            _ => false,
        }
    }
}

/// The fields that `no-cache` and `private` name: the first asker gets them, nobody else.
fn withheld(headers: &HeaderMap, freshness: &Freshness) -> HeaderMap {
    let mut withheld = HeaderMap::new();
    for name in &freshness.directives.withheld {
        for value in headers.get_all(name) {
            withheld.append(name, value.clone());
        }
    }
    withheld
}

/// `Content-Length`, where it is one number.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
