//! HTTP dates (RFC 9110 §5.6.7): parsed in all three forms, written in one.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header::HeaderName};

use super::UnixMs;

/// Two-digit years below this are of this century, the others of the last. RFC 9110 §5.6.7 puts
/// the boundary fifty years from now; a fixed one keeps a date's meaning for as long as it is
/// stored.
const CENTURY_BELOW: u64 = 77;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Seconds since the Unix epoch of an HTTP date; none where the text is no date. Dates before 1970
/// are 0. Case doesn't matter (RFC 9111 §4.2), nor whether the day of the week is the right one;
/// any zone but GMT makes it no date.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    // The longest is `Wednesday, 09-Sep-01 01:46:40 GMT`.
    if text.len() > 33 || !text.is_ascii() {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let (day, rest) = match lower.split_once(", ") {
        Some((day, rest)) => (day, rest),
        None => return asctime(&lower),
    };
    let (date, rest) = rest.split_at_checked(rest.rfind(':')?.checked_sub(6)?)?;
    let clock = rest.strip_prefix(' ')?.strip_suffix(" gmt")?;
    let date: Vec<&str> = if DAYS.contains(&day) {
        date.split(' ').collect()
    } else if LONG_DAYS.contains(&day) {
        date.split('-').collect()
    } else {
        return None;
    };
    let [day_of_month, month, year] = date[..] else {
        return None;
    };
    let year = match (year.len(), digits(year)?) {
        (4, year) if DAYS.contains(&day) => year,
        (2, year) if LONG_DAYS.contains(&day) => {
            year + if year < CENTURY_BELOW { 2000 } else { 1900 }
        }
        _ => return None,
    };
    if day_of_month.len() != 2 {
        return None;
    }
    seconds(year, month, digits(day_of_month)?, clock)
}

/// `sun nov  6 08:49:37 1994`, already lower-cased.
fn asctime(text: &str) -> Option<u64> {
    let (day, rest) = text.split_once(' ')?;
    let (month, rest) = rest.split_once(' ')?;
    let (day_of_month, rest) = rest.split_at_checked(2)?;
    let (clock, year) = rest.strip_prefix(' ')?.split_once(' ')?;
    if !DAYS.contains(&day) || year.len() != 4 {
        return None;
    }
    let day_of_month = digits(day_of_month.strip_prefix(' ').unwrap_or(day_of_month))?;
    seconds(digits(year)?, month, day_of_month, clock)
}

/// Seconds since the epoch of a day and `hh:mm:ss`, none where there is no such moment.
fn seconds(year: u64, month: &str, day: u64, clock: &str) -> Option<u64> {
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut parts = clock
        .split(':')
        .map(|part| Some(part).filter(|part| part.len() == 2).and_then(digits));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // Sixty seconds: a leap second.
    let sound = (1..=length).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && parts.next().is_none();
    if !sound {
        return None;
    }
    Some(
        (days(year, month, day) * 24 + i64::try_from(hour).ok()?)
            .checked_mul(3600)
            .and_then(|s| u64::try_from(s).ok())
            .map_or(0, |s| s + minute * 60 + second),
    )
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, years counted from March.
fn days(year: u64, month: u64, day: u64) -> i64 {
    let (year, month, day) = (year as i64, month as i64, day as i64);
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn digits(text: &str) -> Option<u64> {
    let sound = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| text.parse().ok()).flatten()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::{UnixMs, parse, value};

    #[test]
    fn forms() {
        for (text, expected) in [
            ("Sun, 09 Sep 2001 01:46:40 GMT", Some(1_000_000_000)),
            (" sUN, 09 sEP 2001 01:46:40 gmt ", Some(1_000_000_000)),
            ("Mon, 09 Sep 2001 01:46:40 GMT", Some(1_000_000_000)),
            ("Sunday, 09-Sep-01 01:46:40 GMT", Some(1_000_000_000)),
            ("Sun Sep  9 01:46:40 2001", Some(1_000_000_000)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Wed Nov 16 08:49:37 1994", Some(784_975_777)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800)),
            ("Thu, 29 Feb 2001 00:00:00 GMT", None),
            ("Sun, 09 Sep 2001 01:46:40 UTC", None),
            ("Sun, 09 Sep 2001 01:46:40 +0000", None),
            ("Sun, 09 Sep 2001 01:46:40", None),
            ("Sun, 09 Sep 01 01:46:40 GMT", None),
            ("Sun, 9 Sep 2001 01:46:40 GMT", None),
            ("Sun, 09 Sep 2001 1:46:40 GMT", None),
            ("Sun, 09 Sep 2001 24:00:00 GMT", None),
            ("Sun, 09-Sep-2001 01:46:40 GMT", None),
            ("Sun, 09  Sep 2001 01:46:40 GMT", None),
            ("Sun, 09 Sep 2001 01.46.40 GMT", None),
            ("Sun 09 Sep 2001 01:46:40 GMT", None),
            ("Sunday, 09-Sep-2001 01:46:40 GMT", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0u64..253_402_300_799) {
            prop_assert_eq!(parse(value(UnixMs(seconds * 1000)).as_bytes()), Some(seconds));
        }

        #[test]
        fn anything_is_survived(text: Vec<u8>, date in "[A-Za-z]{3,9},? [ 0-9A-Za-z:-]{0,30}") {
            let _ = parse(&text);
            let _ = parse(date.as_bytes());
        }
    }
}
