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
        reader::{self, Reader},
        record::Stored,
        store::Store,
    },
    cache_status::Told,
    exchange::{Body, BoxBody, Facts, Outcome, Response},
    policy::{UnixMs, precondition},
    range,
};

/// Part of a stored body that answers a request.
enum Part {
    Whole,
    Range(Range<u64>, u64),
    Unsatisfiable(u64),
}

/// Answers from a stored response; `answer` is set where it has just been asked for. None where it
/// turned out to be no longer what the upstream has: look again.
pub(crate) async fn stored(
    store: &Arc<Store>,
    asked: &Arc<Asked>,
    stored: &Arc<Stored>,
    answer: Option<&Answer>,
    told: Told,
    outcome: Outcome,
    name: &str,
) -> Option<Response> {
    let mut headers = stored.headers.clone();
    let now = UnixMs::now();
    let age_s = stored.freshness.age_ms(now) / 1000;
    if told.hit || told.collapsed || age_s > 0 {
        headers.insert(AGE, HeaderValue::from(age_s));
    }
    let facts = Facts {
        outcome,
        upstream_status: told.status,
        ..Facts::default()
    };
    told.append(&mut headers, name);

    let ok = stored.status == StatusCode::OK;
    if ok && precondition::not_modified(&asked.headers, &stored.headers) {
        for name in [
            CONTENT_LENGTH,
            CONTENT_TYPE,
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
        ] {
            headers.remove(name);
        }
        return Some(Response {
            status: StatusCode::NOT_MODIFIED,
            headers,
            body: Body::Empty,
            facts,
        });
    }
    let size = stored.size();
    let (status, range) = match part(asked, stored) {
        Part::Unsatisfiable(size) => {
            headers.insert(CONTENT_RANGE, range::unsatisfied_value(size));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            headers.remove(CONTENT_TYPE);
            return Some(Response {
                status: StatusCode::RANGE_NOT_SATISFIABLE,
                headers,
                body: Body::Empty,
                facts,
            });
        }
        Part::Range(range, size) => {
            headers.insert(CONTENT_RANGE, range::content_range_value(&range, size));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            (StatusCode::PARTIAL_CONTENT, (range.start, Some(range.end)))
        }
        Part::Whole => {
            if ok && size.is_some() && !headers.contains_key(ACCEPT_RANGES) {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            (stored.status, (0, size))
        }
    };
    let body = match asked.method {
        Method::HEAD => Ok(Body::Empty),
        _ => body(store, asked, stored, answer, range).await?,
    };
    match body {
        Ok(body) => Some(Response {
            status,
            headers,
            body,
            facts,
        }),
        Err(reason) => Some(error(StatusCode::BAD_GATEWAY, reason, told, name)),
    }
}

/// Which part a request asks for. While the size isn't known, the whole.
fn part(asked: &Asked, stored: &Stored) -> Part {
    let (Some(spec), Some(size)) = (asked.range, stored.size()) else {
        return Part::Whole;
    };
    if stored.status != StatusCode::OK
        || !precondition::range_holds(&asked.headers, &stored.headers)
    {
        return Part::Whole;
    }
    spec.resolve(size)
        .map_or(Part::Unsatisfiable(size), |range| Part::Range(range, size))
}

/// The bytes from `start` to `end`. None where the upstream has others by now.
async fn body(
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

/// Passes an upstream's response on. Hop-by-hop fields are gone already.
pub(crate) fn relayed(
    asked: &Asked,
    response: http::Response<BoxBody>,
    told: Told,
    name: &str,
) -> Response {
    let (head, body) = response.into_parts();
    let mut headers: HeaderMap = head.headers;
    told.append(&mut headers, name);
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
    told.append(&mut headers, name);
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
    }
}
