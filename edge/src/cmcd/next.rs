//! What a player says it will ask for next: CMCD's `nor` and `nrr` of version 1, and `nor`'s list of
//! version 2, each item with its range in `r` (CTA-5004 §3.1, CTA-5004-A §6).
//!
//! Only plain paths of the same host are taken. One with a query is left: it may hold a token.

use http::uri::PathAndQuery;

use super::{Cmcd, LIST_MAX, Value, closing_quote, decoded};

/// Bytes of a target.
const TARGET_BYTES: usize = 2048;

/// An object, or a part of one, that will be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Its path.
    pub(crate) target: PathAndQuery,
    /// Its bytes, first and last; none where all of it will be asked for.
    pub(crate) range: Option<(u64, u64)>,
}

impl Cmcd {
    /// What follows a request for `base`, at most [`LIST_MAX`] objects.
    pub(crate) fn next(&self, base: &PathAndQuery) -> Vec<Next> {
        let range = match self.get("nrr") {
            Some(Value::String(text)) => range(text),
            _ => None,
        };
        match self.get("nor") {
            Some(Value::String(text)) => next(text, range, base).into_iter().collect(),
            Some(Value::List(text)) => items(text)
                .filter_map(|(text, parameters)| next(text, parameter(parameters), base))
                .take(LIST_MAX)
                .collect(),
            // A range alone is of the same object.
            None => range
                .map(|range| Next {
                    target: base.clone(),
                    range: Some(range),
                })
                .into_iter()
                .collect(),
            Some(_) => Vec::new(),
        }
    }
}

fn next(text: &str, range: Option<(u64, u64)>, base: &PathAndQuery) -> Option<Next> {
    let target = resolve(&decoded(text), base.path())?;
    Some(Next { target, range })
}

/// Strings of a list, each with its parameters.
fn items(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let text = rest.trim_start_matches(' ');
        let end = text.starts_with('"').then(|| closing_quote(text))??;
        let (item, after) = (&text[1..end], &text[end + 1..]);
        // Spaces stand between items, and in quotes.
        let mut quoted = false;
        let length = after.bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == b' ' && !quoted
        });
        let (parameters, after) = after.split_at(length.unwrap_or(after.len()));
        rest = after;
        Some((item, parameters))
    })
}

/// The range among an item's parameters.
fn parameter(parameters: &str) -> Option<(u64, u64)> {
    parameters
        .split(';')
        .find_map(|one| range(one.strip_prefix("r=\"")?.strip_suffix('"')?))
}

/// `first-last`, or `first-`, of which a player says no more.
fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        let digits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok())?
    };
    let first = number(first)?;
    let last = if last.is_empty() {
        first
    } else {
        number(last)?
    };
    (first <= last).then_some((first, last))
}

/// A reference resolved against a path (RFC 3986 §5.2). None where it leaves the host, or could be
/// read in two ways.
fn resolve(text: &str, base: &str) -> Option<PathAndQuery> {
    if text.is_empty() || text.len() > TARGET_BYTES || text.starts_with("//") {
        return None;
    }
    if text.contains([':', '%', '\\', '~', '?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic())
    {
        return None;
    }
    let mut segments: Vec<&str> = match text.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => base.rsplit_once('/')?.0.split('/').skip(1).collect(),
    };
    for segment in text.trim_start_matches('/').split('/') {
        match segment {
            "" => return None,
            "." => {}
            ".." => {
                segments.pop()?;
            }
            segment => segments.push(segment),
        }
    }
    let path = format!("/{}", segments.join("/"));
    (!path.contains("//")).then(|| PathAndQuery::try_from(path).ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Expected<'a> = &'a [(&'a str, Option<(u64, u64)>)];

    fn check(said: &str, expected: Expected<'_>) {
        let base = "/media/t1/r1/opus-96/4.m4s?q=1".parse().unwrap();
        let next = Cmcd::of_text(said).unwrap().next(&base);
        let next: Vec<_> = next.iter().map(|n| (n.target.as_str(), n.range)).collect();
        assert_eq!(next, expected, "{said}");
    }

    #[test]
    fn version_1_names_one() {
        check("nor=\"5.m4s\"", &[("/media/t1/r1/opus-96/5.m4s", None)]);
        check(
            "bl=5,nor=\"..%2Fopus-32%2F5.m4s\",nrr=\"0-99\"",
            &[("/media/t1/r1/opus-32/5.m4s", Some((0, 99)))],
        );
        check("nor=\"/a/b\",nrr=\"7-\"", &[("/a/b", Some((7, 7)))]);
        check(
            "nrr=\"100-199\"",
            &[("/media/t1/r1/opus-96/4.m4s?q=1", Some((100, 199)))],
        );
    }

    #[test]
    fn version_2_lists_several() {
        check(
            "nor=(\"5.m4s\" \"6.m4s\";r=\"0-5\" \"a b.m4s\" \"../x\";o;r=\"9-9\"),v=2",
            &[
                ("/media/t1/r1/opus-96/5.m4s", None),
                ("/media/t1/r1/opus-96/6.m4s", Some((0, 5))),
                ("/media/t1/r1/x", Some((9, 9))),
            ],
        );
        check("nor=(5 6),v=2", &[]);
    }

    #[test]
    fn what_is_anothers_or_ambiguous_is_left() {
        for text in [
            "https://other.example/a",
            "//other.example/a",
            "../../../../../a",
            "a?CAT=2D3S",
            "/~2D3S/a",
            "a%252e",
            "a//b",
            "a\\b",
            "",
            "a#b",
        ] {
            check(&format!("nor=\"{text}\""), &[]);
        }
        check("nor=\"a\",nrr=\"9-3\"", &[("/media/t1/r1/opus-96/a", None)]);
        check("nrr=\"-5\"", &[]);
        check("nor=5,nrr=\"0-5\"", &[]);
    }
}
