//! What an unsafe request invalidates (RFC 9111 §4.4).

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LOCATION, LOCATION},
    uri::Authority,
};

/// Whether a request with this method, answered so, changed its target.
pub(crate) fn changed(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// Paths and queries named by `Location` and `Content-Location`, where they are on the same host.
pub(crate) fn also_named(
    response: &HeaderMap,
    authority: Option<&Authority>,
    target: &str,
) -> Vec<String> {
    [LOCATION, CONTENT_LOCATION]
        .iter()
        .filter_map(|name| response.get(name)?.to_str().ok())
        .filter_map(|reference| resolve(reference, authority, target))
        .collect()
}

/// Path and query that `Content-Location` names, where it is on the same host.
pub(crate) fn content_location(
    response: &HeaderMap,
    authority: Option<&Authority>,
    target: &str,
) -> Option<String> {
    let reference = response.get(CONTENT_LOCATION)?.to_str().ok()?;
    resolve(reference, authority, target)
}

/// Resolves a reference against the request's target; none where it leads to another host.
fn resolve(reference: &str, authority: Option<&Authority>, target: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let rest = reference
        .split_once("://")
        .map(|(_, rest)| rest)
        .or_else(|| reference.strip_prefix("//"));
    if let Some(rest) = rest {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let same = authority.is_some_and(|a| a.as_str().eq_ignore_ascii_case(host));
        return same.then(|| {
            if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            }
        });
    }
    let path = target.split('?').next().unwrap_or_default();
    if reference.is_empty() {
        Some(target.to_owned())
    } else if reference.starts_with('/') {
        Some(reference.to_owned())
    } else if reference.starts_with('?') {
        Some(format!("{path}{reference}"))
    } else {
        let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        Some(without_dots(&format!("{folder}{reference}")))
    }
}

/// Removes dot segments (RFC 3986 §5.2.4).
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    format!("/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{Authority, resolve};

    #[test]
    fn references_on_the_same_host_are_resolved() {
        let host = Authority::from_static("a.example:80");
        for (reference, expected) in [
            ("http://A.example:80/x?y#z", Some("/x?y")),
            ("//a.example:80", Some("/")),
            ("http://b.example/x", None),
            ("/x", Some("/x")),
            ("x", Some("/d/x")),
            ("../x/./y/..", Some("/x/")),
            ("?b", Some("/d/e?b")),
            ("", Some("/d/e?a")),
        ] {
            assert_eq!(
                resolve(reference, Some(&host), "/d/e?a").as_deref(),
                expected,
                "{reference}"
            );
        }
    }
}
