//! `Date` of responses, formatted once a second and thread.

use std::{cell::RefCell, time::SystemTime};

use http::HeaderValue;

thread_local! {
    /// The second that was formatted last, and its text.
    static LAST: RefCell<(u64, HeaderValue)> = RefCell::new(at(SystemTime::now()));
}

/// A time's second since 1970 and text.
fn at(time: SystemTime) -> (u64, HeaderValue) {
    let text = httpdate::fmt_http_date(time);
    // A date is a sound value.
    let value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    (second(time), value)
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The time now, as a field's value.
pub(crate) fn now() -> HeaderValue {
    let now = SystemTime::now();
    LAST.with_borrow_mut(|last| {
        if last.0 != second(now) {
            *last = at(now);
        }
        last.1.clone()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_the_time() {
        let before = second(SystemTime::now());
        let said = httpdate::parse_http_date(now().to_str().unwrap()).unwrap();
        assert!((before..=before + 10).contains(&second(said)));
        assert_eq!(
            at(SystemTime::UNIX_EPOCH).1,
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }
}
