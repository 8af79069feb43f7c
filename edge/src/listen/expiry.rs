//! When a certificate ends: just enough DER (X.690) to find `notAfter` (RFC 5280 §4.1.2.5).

use rustls_pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, `[0] EXPLICIT`: optional.
const VERSION: u8 = 0xa0;

/// End of validity, Unix seconds. None where the certificate can't be read so far.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, validity, _) = element(rest)? else {
        return None;
    };
    let (_, _, not_after) = element(validity)?;
    let (tag, time, _) = element(not_after)?;
    let time = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    match (tag, time.len()) {
        // Two digits of the year: 1950 to 2049.
        (UTC_TIME, 12) => {
            let year: i64 = time.get(..2)?.parse().ok()?;
            unix_s(if year < 50 { 2000 } else { 1900 } + year, time.get(2..)?)
        }
        (GENERALIZED_TIME, 14) => unix_s(time.get(..4)?.parse().ok()?, time.get(4..)?),
        _ => None,
    }
}

/// Tag, content and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        rest = after;
        if digits.len() > 4 {
            return None;
        }
        digits.iter().fold(0, |n, b| n << 8 | usize::from(*b))
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// Unix seconds of a year and `MMDDhhmmss`.
fn unix_s(year: i64, rest: &str) -> Option<i64> {
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 in the proleptic Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_end_is_what_the_certificate_says() {
        for (year, expected) in [(2031, 1_930_694_400), (2077, 3_382_387_200)] {
            let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 3, 8);
            let pair = rcgen::KeyPair::generate().unwrap();
            let made = params.self_signed(&pair).unwrap();
            assert_eq!(of(made.der()), Some(expected), "{year}");
            // No cut or flipped byte is more than a wrong answer.
            for n in 0..made.der().len() {
                let _ = of(&CertificateDer::from(&made.der()[..n]));
                let mut flipped = made.der().to_vec();
                flipped[n] ^= 0xff;
                let _ = of(&CertificateDer::from(flipped));
            }
        }
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(unix_s(1970, "0101000000"), Some(0));
        assert_eq!(unix_s(2000, "0229120000"), Some(951_825_600));
        assert_eq!(unix_s(2024, "0301000001"), Some(1_709_251_201));
        assert_eq!(unix_s(2024, "1301000000"), None);
    }
}
