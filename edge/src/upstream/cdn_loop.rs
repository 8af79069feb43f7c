//! `CDN-Loop` (RFC 8586): every request sent upstream names this edge, so that one that comes back
//! is noticed, and one that a peer has sent goes no further than to the origin.
//!
//! An edge is named by a pseudonym and a number drawn when it starts. Clients don't know the number,
//! so none can make a request look like a loop, and with it fail for those who wait for the same
//! object.

use http::{HeaderMap, HeaderValue, header::HeaderName};

static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Longest value taken along; more is cut at the oldest end. A real path is some dozen members.
const VALUE_MAX: usize = 4096;

/// Where a request has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// Neither here nor at a peer.
    Neither,
    /// A peer of the same group sent it here.
    Peer,
    /// Here, before.
    Here,
}

/// What this edge writes.
#[derive(Debug)]
pub(super) struct Mark {
    /// `node=…` of this edge.
    node: String,
    /// `peer=…` of its group.
    group: String,
    to_origin: HeaderValue,
    to_peer: HeaderValue,
}

impl Mark {
    /// The mark of an edge. `name` and `group` are tokens; anything else is dropped from them.
    pub(super) fn new(name: &str, group: &str, number: u64) -> Self {
        let token = |text: &str| -> String {
            text.chars()
                .filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c))
                .collect()
        };
        let (node, group) = (
            format!("node={number:016x}"),
            format!("peer={}", token(group)),
        );
        let to_origin = format!("{};{node}", token(name));
        let value = |text: &str| {
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("segue"))
        };
        Self {
            to_peer: value(&format!("{to_origin};{group}")),
            to_origin: value(&to_origin),
            node,
            group,
        }
    }

    /// Reads where a request has been.
    pub(super) fn read(&self, headers: &HeaderMap) -> Passed {
        let mut passed = Passed::Neither;
        for line in headers.get_all(&CDN_LOOP) {
            // What can't be read as text was not written by an edge.
            for parameter in line.to_str().unwrap_or_default().split([',', ';']) {
                let parameter = parameter.trim();
                if parameter == self.node {
                    return Passed::Here;
                }
                if parameter == self.group {
                    passed = Passed::Peer;
                }
            }
        }
        passed
    }

    /// Adds this edge at the end, as RFC 8586 §2 has it.
    pub(super) fn write(&self, headers: &mut HeaderMap, to_peer: bool) {
        let ours = if to_peer {
            &self.to_peer
        } else {
            &self.to_origin
        };
        if !headers.contains_key(&CDN_LOOP) {
            headers.insert(CDN_LOOP.clone(), ours.clone());
            return;
        }
        let mut members: Vec<&[u8]> = headers
            .get_all(&CDN_LOOP)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        let mut length: usize = members.iter().map(|m| m.len() + 2).sum();
        while length > VALUE_MAX && !members.is_empty() {
            length -= members.remove(0).len() + 2;
        }
        members.push(ours.as_bytes());
        let joined = HeaderValue::from_bytes(&members.join(&b", "[..]));
        headers.insert(CDN_LOOP.clone(), joined.unwrap_or_else(|_| ours.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&CDN_LOOP, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_request_tells_where_it_has_been() {
        let (a, b) = (Mark::new("Segue", "pop", 1), Mark::new("Segue", "pop", 2));
        let shield = Mark::new("Segue", "shields", 3);
        let mut request = headers(&["other-cdn; x=1", "foo"]);
        assert_eq!(a.read(&request), Passed::Neither);
        a.write(&mut request, true);
        assert_eq!(
            request[&CDN_LOOP],
            "other-cdn; x=1, foo, Segue;node=0000000000000001;peer=pop"
        );
        assert_eq!(b.read(&request), Passed::Peer);
        // Another group's peers are no reason not to ask one's own.
        assert_eq!(shield.read(&request), Passed::Neither);
        b.write(&mut request, false);
        assert_eq!(a.read(&request), Passed::Here);
        assert_eq!(b.read(&request), Passed::Here);
    }

    #[test]
    fn nonsense_is_no_loop_and_stays_bounded() {
        let mark = Mark::new("Segue", "pop", 1);
        let mut request = headers(&["Segue", "node=0000000000000002", ";,;,", &"x".repeat(5000)]);
        assert_eq!(mark.read(&request), Passed::Neither);
        mark.write(&mut request, false);
        assert!(request[&CDN_LOOP].len() <= VALUE_MAX + 64);
        assert_eq!(mark.read(&request), Passed::Here);
    }
}
