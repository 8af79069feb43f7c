//! Building responses: from what is stored, from what an upstream sent, and for errors.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_TYPE,
    },
};
use http_body::Body as _;

use crate::{
    asked::Asked,
    cache::{
        Failure,
        opening::Answer,
        piece::Cut,
        reader::{self, Reader},
        record::Stored,
        store::Store,
    },
    cache_status::Told,
    exchange::{Body, BoxBody, Facts, Outcome, Response},
    hit, multipart,
    policy::{UnixMs, precondition},
    range::{self, Resolved},
};

/// A stored response as an answer, and what is told of it.
pub(crate) struct Reply<'a> {
    /// The response.
    pub(crate) stored: &'a Arc<Stored>,
    /// Set where it has just been asked for.
    pub(crate) answer: Option<&'a Answer>,
    /// For `Cache-Status`, without the lifetime that is left.
    pub(crate) told: Told,
    /// For the log.
    pub(crate) outcome: Outcome,
}

/// Part of a stored body that answers a request. Ranges count in the representation, ends
/// exclusive.
enum Part {
    Whole,
    /// With the representation's size, if known.
    One(Range<u64>, Option<u64>),
    /// With the representation's size.
    Many(Vec<Range<u64>>, u64),
    Unsatisfiable(u64),
    /// What is stored is a piece that lacks some of it.
    Lacking,
}

/// How far a response is that is made of what is stored.
enum Begun {
    /// Complete.
    Done(Response),
    /// Without its body yet: that much of what is stored, its end exclusive.
    Body(Response, (u64, Option<u64>)),
    /// Without its parts yet.
    Parts(Response, multipart::Parts),
    /// What is stored is a piece that lacks some of it.
    Lacking,
}

/// Answers from a stored response. None where it turned out to be no longer what the upstream has,
/// or has not what is asked for: look again.
pub(crate) async fn stored(
    store: &Arc<Store>,
    asked: &Arc<Asked>,
    reply: Reply<'_>,
) -> Option<Response> {
    let (stored, answer, told) = (reply.stored, reply.answer, reply.told);
    let (mut response, body) = match begin(asked, reply) {
        Begun::Lacking => return None,
        Begun::Done(response) => return Some(response),
        Begun::Body(response, span) => (response, body(store, asked, stored, answer, span).await?),
        Begun::Parts(response, parts) => {
            (response, parts.body(store, asked, stored, answer).await?)
        }
    };
    match body {
        Ok(body) => {
            response.body = body;
            Some(response)
        }
        Err(reason) => Some(failed(asked, reason, told)),
    }
}

/// A hit where all of it is in memory: without waiting for anything. None where it isn't.
pub(crate) fn at_once(
    store: &Store,
    asked: &Asked,
    stored: &Arc<Stored>,
    now: UnixMs,
) -> Option<Response> {
    if let Some(response) = hit::answer(store, asked, stored, now) {
        return Some(response);
    }
    let told = Told {
        hit: true,
        ..Told::default()
    };
    let reply = Reply {
        stored,
        answer: None,
        told,
        outcome: Outcome::Hit,
    };
    match begin(asked, reply) {
        Begun::Done(response) => Some(response),
        Begun::Body(mut response, (start, Some(end))) => {
            response.body = reader::in_memory(store, stored, &(start..end))?;
            Some(response)
        }
        Begun::Body(..) | Begun::Parts(..) | Begun::Lacking => None,
    }
}

/// Status and fields of a response made of what is stored.
fn begin(asked: &Asked, reply: Reply<'_>) -> Begun {
    let Reply {
        stored,
        mut told,
        outcome,
        ..
    } = reply;
    let now = UnixMs::now();
    told.ttl = Some(stored.freshness.left_ms(now).div_euclid(1000));
    let mut headers = stored.headers.clone();
    let age_s = stored.freshness.age_ms(now) / 1000;
    if told.hit || told.collapsed || age_s > 0 {
        headers.insert(AGE, HeaderValue::from(age_s));
    }
    told.append(&mut headers, &asked.rules.name, Some(asked.shown_key()));
    let facts = Facts {
        outcome,
        upstream_status: told.status,
        ..Facts::default()
    };
    let response = |status, headers| Response {
        status,
        headers,
        body: Body::Empty,
        facts,
        hit: None,
    };

    let successful = matches!(stored.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    if successful
        && asked.cacheable()
        && precondition::not_modified(&asked.headers, &stored.headers)
    {
        let of_the_body = [
            CONTENT_LENGTH,
            CONTENT_TYPE,
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
            CONTENT_RANGE,
        ];
        of_the_body
            .iter()
            .for_each(|name| drop(headers.remove(name)));
        return Begun::Done(response(StatusCode::NOT_MODIFIED, headers));
    }
    let size = stored.size();
    let first = stored.piece.as_ref().map_or(0, |piece| piece.first);
    let (status, span) = match part(asked, stored) {
        Part::Lacking => return Begun::Lacking,
        Part::Unsatisfiable(size) => {
            headers.insert(CONTENT_RANGE, range::unsatisfied_value(size));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            headers.remove(CONTENT_TYPE);
            return Begun::Done(response(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
        Part::Many(ranges, size) => {
            let parts = multipart::Parts::new(stored, &mut headers, ranges, size);
            return Begun::Parts(response(StatusCode::PARTIAL_CONTENT, headers), parts);
        }
        Part::One(range, size) => {
            headers.insert(CONTENT_RANGE, range::content_range_value(&range, size));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            let span = (range.start - first, Some(range.end - first));
            (StatusCode::PARTIAL_CONTENT, span)
        }
        Part::Whole => {
            if stored.status == StatusCode::OK
                && size.is_some()
                && !headers.contains_key(ACCEPT_RANGES)
            {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            (stored.status, (0, size))
        }
    };
    if asked.method == Method::HEAD {
        Begun::Done(response(status, headers))
    } else {
        Begun::Body(response(status, headers), span)
    }
}

/// Which part a request asks for. While the size isn't known, the whole.
fn part(asked: &Asked, stored: &Stored) -> Part {
    if let Some(piece) = &stored.piece {
        let cut = stored.size().and_then(|length| piece.cut(length, asked));
        return match cut {
            Some(Cut::All) => Part::Whole,
            Some(Cut::Bytes(range)) => Part::One(range, piece.total),
            None => Part::Lacking,
        };
    }
    let (Some(ranges), Some(size)) = (&asked.range, stored.size()) else {
        return Part::Whole;
    };
    if stored.status != StatusCode::OK
        || !precondition::range_holds(&asked.headers, &stored.headers)
    {
        return Part::Whole;
    }
    match ranges.resolve(size) {
        Resolved::Nothing => Part::Unsatisfiable(size),
        Resolved::One(range) => Part::One(range, Some(size)),
        Resolved::Many(ranges) => Part::Many(ranges, size),
    }
}

/// Stored bytes from `start` to `end`. None where the upstream has others by now.
pub(crate) async fn body(
    store: &Arc<Store>,
    asked: &Arc<Asked>,
    stored: &Arc<Stored>,
    answer: Option<&Answer>,
    (start, end): (u64, Option<u64>),
) -> Option<Result<Body, &'static str>> {
    if let Some(end) = end
        && let Some(body) = reader::in_memory(store, stored, &(start..end))
    {
        return Some(Ok(body));
    }
    let live = answer.and_then(|answer| answer.attach(store.slice_number(start)));
    let arriving = live.is_some();
    let mut reader = Reader::new(
        store.clone(),
        asked.clone(),
        stored.clone(),
        start,
        end,
        live,
    );
    let length = end.map(|end| end - start);
    if arriving {
        // The upstream has just answered for this revision: don't wait for the first bytes.
        return Some(Ok(reader.into_body(length)));
    }
    match reader.prime().await {
        Ok(()) => Some(Ok(reader.into_body(length))),
        Err(Failure::Changed) => None,
        Err(Failure::Broken(_)) => Some(Err("upstream-failed")),
    }
}

/// Bytes that were stored can't be had any more.
fn failed(asked: &Asked, reason: &'static str, told: Told) -> Response {
    let told = Told {
        detail: Some(reason),
        ..told
    };
    error(StatusCode::BAD_GATEWAY, reason, told, &asked.rules.name)
}

/// Passes an upstream's response on. Hop-by-hop fields are gone already.
pub(crate) fn relayed(asked: &Asked, response: http::Response<BoxBody>, told: Told) -> Response {
    let (head, body) = response.into_parts();
    let mut headers: HeaderMap = head.headers;
    told.append(&mut headers, &asked.rules.name, Some(asked.shown_key()));
    let bodiless = asked.method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
    let body = match body.size_hint().exact() {
        _ if bodiless => Body::Empty,
        Some(0) if body.is_end_stream() => Body::Empty,
        len => Body::Stream { body, len },
    };
    let facts = Facts {
        outcome: Outcome::Bypass,
        upstream_status: Some(head.status),
        ..Facts::default()
    };
    Response {
        status: head.status,
        headers,
        body,
        facts,
        hit: None,
    }
}

/// A response of our own: a status and one line for people. `reason` also goes to the log.
pub(crate) fn error(status: StatusCode, reason: &'static str, told: Told, name: &str) -> Response {
    let mut headers = HeaderMap::new();
    let text = format!(
        "{} {}: {reason}\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error")
    );
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    told.append(&mut headers, name, None);
    let facts = Facts {
        outcome: Outcome::Failed,
        reason: Some(reason),
        ..Facts::default()
    };
    Response {
        status,
        headers,
        body: Body::Full(Bytes::from(text)),
        facts,
        hit: None,
    }
}
