//! How careless upstreams might read a path. Only for deciding whether a path is behind the gate:
//! what is authorised, keyed and fetched is always the path as sent.

/// Rounds of decoding looked at. No upstream decodes that often; a path that has still something to
/// decode then is made to be misread.
const ROUNDS: usize = 4;

/// Whether some reading of a path, in lower case, fits `begins`: decoded up to four times,
/// backslashes as slashes, slashes merged, parameters (`;x`) cut, dot segments resolved.
pub(crate) fn may_be(path: &str, begins: impl Fn(&str) -> bool) -> bool {
    if begins(path) {
        return true;
    }
    let odd = |b: u8| matches!(b, b'%' | b'\\' | b';') || b.is_ascii_uppercase();
    if !path.bytes().any(odd) && !path.contains("//") && !path.contains("/.") {
        return false;
    }
    let mut bytes = path.as_bytes().to_ascii_lowercase();
    for _ in 0..=ROUNDS {
        let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
        if begins(&text) || begins(&segments(&text, false)) || begins(&segments(&text, true)) {
            return true;
        }
        match decoded(&bytes) {
            Some(decoded) => bytes = decoded.to_ascii_lowercase(),
            None => return false,
        }
    }
    true
}

/// A path without empty segments and parameters; its dot segments resolved where asked.
fn segments(text: &str, resolve: bool) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." if resolve => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let tail = if text.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{tail}", segments.join("/"))
}

/// One round of percent-decoding; none where there is nothing to decode.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let hex = |n: usize| text.get(at + n).and_then(|b| char::from(*b).to_digit(16));
        match (text[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(0));
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    (out.len() < text.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::may_be;

    #[test]
    fn every_reading_counts() {
        let media = |path: &str| may_be(path, |text| text.starts_with("/media/"));
        for path in [
            "/media/x",
            "/MEDIA/x",
            "//media/x",
            "/a/../media/x",
            "/media/../a",
            "/%6dedia/%252e%252e/a",
            "/a/..;b/media/x",
            "/media;a/x",
            "/a%2f..%2fmedia%2fx",
            "/a\\..\\media\\x",
            "/%2525256dedia/x",
            "/%252525252525256dedia/x",
        ] {
            assert!(media(path), "{path}");
        }
        for path in [
            "/",
            "/a/media/x",
            "/mediax",
            "/a%2Fb/c",
            "/a;b/c",
            "/A/B.c/%25",
        ] {
            assert!(!media(path), "{path}");
        }
    }

    #[test]
    fn a_hostile_path_costs_no_more_than_a_few_rounds() {
        let path = format!("/%{}41", "25".repeat(4_000));
        let begun = std::time::Instant::now();
        assert!(may_be(&path, |_| false));
        assert!(begun.elapsed() < std::time::Duration::from_millis(200));
    }
}
