//! AWS Signature Version 4 for requests without a body.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{digest, hmac};

/// SHA-256 of nothing: the payload of a GET.
pub(super) const EMPTY_SHA256: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A point in time as SigV4 writes it: `20130524T000000Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(String);

impl Stamp {
    /// Of a time after 1970 and before 10000.
    pub(super) fn of(time: SystemTime) -> Self {
        let seconds = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        Self(format!(
            "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        ))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// `20130524`.
    fn day(&self) -> &str {
        self.0.get(..8).unwrap_or_default()
    }
}

/// Year, month and day of a number of days after 1 January 1970 (Hinnant, "chrono-compatible
/// low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// What a request is signed with, on one day.
pub(super) struct SigningKey {
    access: String,
    scope: String,
    day: String,
    key: hmac::Key,
}

impl SigningKey {
    /// The key for S3 in a region on the day of `stamp`.
    pub(super) fn derive(access: &str, secret: &str, region: &str, stamp: &Stamp) -> Self {
        let day = stamp.day();
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        for part in [day, region, "s3", "aws4_request"] {
            let tag = hmac::sign(&key, part.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
        }
        Self {
            access: access.to_owned(),
            scope: format!("{day}/{region}/s3/aws4_request"),
            day: day.to_owned(),
            key,
        }
    }

    /// Whether it is the key for that day.
    pub(super) fn is_for(&self, stamp: &Stamp) -> bool {
        self.day == stamp.day()
    }

    /// The `Authorization` of a request. `path` is encoded as it is sent; `fields` are in ascending
    /// order of their lower-case names.
    pub(super) fn authorize(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        stamp: &Stamp,
    ) -> String {
        let mut canonical = format!("{method}\n{path}\n\n");
        let mut names = String::new();
        for (name, value) in fields {
            let _ = writeln!(canonical, "{name}:{}", value.trim());
            if !names.is_empty() {
                names.push(';');
            }
            names.push_str(name);
        }
        let _ = write!(canonical, "\n{names}\n{EMPTY_SHA256}");
        let hashed = digest::digest(&digest::SHA256, canonical.as_bytes());
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            stamp.as_str(),
            self.scope,
            hex::encode(hashed)
        );
        let signature = hex::encode(hmac::sign(&self.key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={names},Signature={signature}",
            self.access, self.scope
        )
    }
}

/// Encodes a path for signing and sending: everything but unreserved characters and `/`.
pub(super) fn encode_path(path: &str, out: &mut String) {
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stamp(unix_s: u64) -> Stamp {
        Stamp::of(UNIX_EPOCH + Duration::from_secs(unix_s))
    }

    #[test]
    fn stamps() {
        for (unix_s, expected) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_369_353_600, "20130524T000000Z"),
            (1_735_689_599, "20241231T235959Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(unix_s).as_str(), expected);
        }
    }

    /// The example of the S3 API reference, "Authenticating Requests: Using the Authorization
    /// Header", GET Object.
    #[test]
    fn signs_as_the_reference_does() {
        let stamp = stamp(1_369_353_600);
        let key = SigningKey::derive(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "us-east-1",
            &stamp,
        );
        let authorization = key.authorize(
            "GET",
            "/test.txt",
            &[
                ("host", "examplebucket.s3.amazonaws.com"),
                ("range", "bytes=0-9"),
                ("x-amz-content-sha256", EMPTY_SHA256),
                ("x-amz-date", stamp.as_str()),
            ],
            &stamp,
        );
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert!(!key.is_for(&self::stamp(1_369_353_600 + 86_400)));
    }

    #[test]
    fn paths_are_encoded_once() {
        let mut out = String::new();
        encode_path("tracks/a b+c/ü~.mp4", &mut out);
        assert_eq!(out, "tracks/a%20b%2Bc/%C3%BC~.mp4");
    }
}
