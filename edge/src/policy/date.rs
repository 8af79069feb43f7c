//! HTTP dates (RFC 9110 §5.6.7): parsed in all three forms, written in one.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header::HeaderName};

use super::UnixMs;

/// Seconds since the Unix epoch of an HTTP date; none where the text is no date. Dates before 1970
/// are 0.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let time = httpdate::parse_http_date(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// The date in the only line of a field; the first of several.
pub(crate) fn field(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    parse(headers.get(name)?.as_bytes())
}

/// `now` as a field value.
pub(crate) fn value(now: UnixMs) -> HeaderValue {
    let time = UNIX_EPOCH + Duration::from_secs(now.seconds().min(253_402_300_799));
    HeaderValue::try_from(httpdate::fmt_http_date(time))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}
