//! Targets of `Link: <…>; rel=prefetch` (RFC 8288, HTML's `prefetch`) on the same host.

use http::{HeaderMap, header::LINK, uri::PathAndQuery};

/// Targets taken from one response.
const MOST: usize = 4;

/// Bytes of a target, and of all `Link` fields looked at.
const TARGET_BYTES: usize = 2048;
const FIELD_BYTES: usize = 8192;

/// The targets of a response to a request for `base`: at most [`MOST`], absolute paths of the same
/// host without anything that could be read in two ways.
pub(crate) fn prefetch(headers: &HeaderMap, base: &PathAndQuery) -> Vec<PathAndQuery> {
    let lines = headers.get_all(LINK).iter().filter_map(|l| l.to_str().ok());
    let mut budget = FIELD_BYTES;
    let lines = lines.take_while(|line| match budget.checked_sub(line.len()) {
        Some(left) => {
            budget = left;
            true
        }
        None => false,
    });
    lines
        .flat_map(links)
        .filter(|(_, parameters)| is_prefetch(parameters))
        .filter_map(|(target, _)| resolve(target, base))
        .take(MOST)
        .collect()
}

/// The links of a field: target and parameters.
fn links(field: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = field;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let end = end_of_link(after);
        rest = &after[end..];
        Some((target.trim(), &after[..end]))
    })
}

/// Where the parameters of a link end: at a comma outside of quotes.
fn end_of_link(text: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn is_prefetch(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .split(' ')
                .any(|rel| rel.eq_ignore_ascii_case("prefetch"))
    })
}

/// A target as a path of the host of `base`. None where it is another host's, or ambiguous.
fn resolve(target: &str, base: &PathAndQuery) -> Option<PathAndQuery> {
    if target.is_empty() || target.len() > TARGET_BYTES || target.starts_with("//") {
        return None;
    }
    let target = match target.starts_with('/') {
        true => target.to_owned(),
        false => {
            let (directory, _) = base.path().rsplit_once('/')?;
            format!("{directory}/{target}")
        }
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    // A scheme, a fragment, encoded separators, dot segments: whoever means such a path can ask.
    let odd = path.contains([':', '%', '\\', '~']) || target.contains('#');
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if odd || dots || path.contains("//") {
        return None;
    }
    PathAndQuery::try_from(target).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, header::LINK};

    use super::prefetch;

    fn targets(field: &str) -> Vec<String> {
        let headers = HeaderMap::from_iter([(LINK, field.parse().unwrap())]);
        let base = "/media/t1/opus.mp4?q".parse().unwrap();
        let targets = prefetch(&headers, &base);
        targets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn targets_on_the_same_host() {
        assert_eq!(targets("</a/b?c=d>; rel=prefetch"), ["/a/b?c=d"]);
        assert_eq!(
            targets("<next.mp4>;as=audio; REL=\"next prefetch\""),
            ["/media/t1/next.mp4"]
        );
        assert_eq!(
            targets("</1>; rel=prefetch; title=\"a, <b>\", </2>; rel=preload, </3>; rel=Prefetch"),
            ["/1", "/3"]
        );
        assert_eq!(targets(&"</x>; rel=prefetch, ".repeat(50)).len(), 4);
    }

    #[test]
    fn what_is_anothers_or_ambiguous_is_left() {
        for field in [
            "<https://other.example/a>; rel=prefetch",
            "<//other.example/a>; rel=prefetch",
            "</a/../b>; rel=prefetch",
            "<../b>; rel=prefetch",
            "</a/%2e%2e/b>; rel=prefetch",
            "</a//b>; rel=prefetch",
            "</~token/b>; rel=prefetch",
            "</a>; rel=preload",
            "</a>",
            "<>; rel=prefetch",
            "</a; rel=prefetch",
        ] {
            assert_eq!(targets(field), Vec::<String>::new(), "{field}");
        }
    }
}
