//! How careless upstreams might read a path. Only for deciding whether a path is behind the gate:
//! what is authorised, keyed and fetched is always the path as sent.

/// Rounds of decoding looked at. No upstream decodes that often; a path that has still something to
/// decode then is made to be misread.
const ROUNDS: usize = 4;

/// Whether some reading of a path may begin with one of `prefixes`, in whatever case: decoded up to
/// four times, backslashes as slashes, slashes merged, parameters (`;x`) cut, dot segments resolved.
///
/// Parsers differ in the order of these steps and in what they leave out, and every order gives a
/// dot segment others to take away. So none is resolved here: where a path has a dot segment in
/// some reading, any segment may turn out to be the first one.
pub(crate) fn may_be(path: &str, prefixes: &[impl AsRef<str>]) -> bool {
    let prefixes = || prefixes.iter().map(AsRef::as_ref);
    let begins = |text: &str| prefixes().any(|prefix| starts_with(text, prefix));
    if begins(path) {
        return true;
    }
    let odd = |b: u8| matches!(b, b'%' | b'\\' | b';');
    if !path.bytes().any(odd) && !path.contains("//") && !path.contains("/.") {
        return false;
    }
    // The first segment of a prefix: all of it, or how it begins where the prefix ends in it.
    let first = |segment: &str| {
        prefixes().any(
            |prefix| match prefix.trim_start_matches('/').split_once('/') {
                Some((whole, _)) => segment.eq_ignore_ascii_case(whole),
                None => starts_with(segment, prefix.trim_start_matches('/')),
            },
        )
    };
    let (mut moves, mut named) = (false, false);
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..=ROUNDS {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for text in [text.replace('\\', "/"), text] {
            let cut = || text.split('/').map(without_parameters);
            if begins(&merged(text.split('/'))) || begins(&merged(cut())) {
                return true;
            }
            moves |= cut().any(|segment| matches!(segment, "." | ".."));
            named |= cut().any(first);
        }
        match decoded(&bytes) {
            Some(decoded) => bytes = decoded,
            None => return moves && named,
        }
    }
    true
}

fn starts_with(text: &str, prefix: &str) -> bool {
    let start = text.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// A segment up to its parameters, or to where a parser in C would take it to end.
fn without_parameters(segment: &str) -> &str {
    segment.split([';', '\0']).next().unwrap_or_default()
}

/// A path of segments, the empty ones left out; one that ends in a slash still does.
fn merged<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::new();
    let mut last = "";
    for segment in segments {
        last = segment;
        if !segment.is_empty() {
            path.push('/');
            path.push_str(segment);
        }
    }
    if last.is_empty() {
        path.push('/');
    }
    path
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
        let media = |path: &str| may_be(path, &["/media/", "/v1/tracks/"]);
        for path in [
            "/media/x",
            "/MEDIA/x",
            "//media/x",
            "/a/../media/x",
            "/media/../a",
            "/v1/x/../tracks/1",
            "/a/../media/b//../../c",
            "/a/../media/..;b/../c",
            "/a/%2e%2e/media/b%2f../../c",
            "/a/%2f..;%5c&/media/x",
            "/;\\&/media/x",
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
            "/a/../b/mediax/",
        ] {
            assert!(!media(path), "{path}");
        }
    }

    #[test]
    fn a_hostile_path_costs_no_more_than_a_few_rounds() {
        let path = format!("/%{}41", "25".repeat(4_000));
        let begun = std::time::Instant::now();
        assert!(may_be(&path, &["/media/"]));
        assert!(begun.elapsed() < std::time::Duration::from_millis(200));
    }
}
