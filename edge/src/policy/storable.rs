//! Whether a response may be stored by a shared cache (RFC 9111 §3).

use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, ETAG, LAST_MODIFIED, VARY},
};

use super::{directives, fields, freshness::Freshness};

/// Why a response isn't stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// `no-store`, of either side.
    NoStore,
    /// `private`.
    Private,
    /// The request carried `Authorization` and the response doesn't allow sharing it.
    Authorization,
    /// `Vary: *`.
    VaryAny,
    /// `must-understand` with a status this cache doesn't know.
    NotUnderstood,
    /// A status that is never stored as it is, since it answers a range or a condition: 1xx, 206,
    /// 304, 416.
    Status,
    /// A range that can't be pinned to a revision, or isn't what was asked for.
    Range,
    /// An unsafe request has changed the object meanwhile.
    Overtaken,
    /// A server error, where something stored may stand in.
    Error,
    /// Neither freshness nor a validator: it could never be reused.
    Useless,
}

impl NotStored {
    /// For logs and `Cache-Status`: a token.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::VaryAny => "vary-any",
            Self::NotUnderstood => "not-understood",
            Self::Status => "status",
            Self::Range => "range",
            Self::Overtaken => "overtaken",
            Self::Error => "error",
            Self::Useless => "no-freshness-no-validator",
        }
    }
}

/// Decides for the response to a GET. `status` is that of the whole representation: 200 for a 206
/// that is stored in part.
///
/// # Errors
/// [`NotStored`] says why not.
pub(crate) fn check(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    freshness: &Freshness,
) -> Result<(), NotStored> {
    let cc = &freshness.directives;
    if cc.must_understand && !understood(status) {
        return Err(NotStored::NotUnderstood);
    }
    let no_store = cc.no_store && !cc.must_understand;
    if no_store || directives::Request::of(request).no_store {
        return Err(NotStored::NoStore);
    }
    if cc.private {
        return Err(NotStored::Private);
    }
    if request.contains_key(AUTHORIZATION)
        && !(cc.public || cc.must_revalidate || cc.s_maxage.is_some())
    {
        return Err(NotStored::Authorization);
    }
    if status.is_informational()
        || matches!(
            status,
            StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::RANGE_NOT_SATISFIABLE
        )
    {
        return Err(NotStored::Status);
    }
    if response.get_all(VARY).iter().any(|line| {
        line.as_bytes()
            .split(|b| *b == b',')
            .any(|m| m.trim_ascii() == b"*")
    }) {
        return Err(NotStored::VaryAny);
    }
    let validator = response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED);
    let fresh = freshness.lifetime.is_some_and(|seconds| seconds > 0);
    if fresh || (validator && (cc.public || cacheable_by_default(status))) {
        Ok(())
    } else {
        Err(NotStored::Useless)
    }
}

/// Whether nothing in a request makes its answer another than what everyone gets: no conditions, no
/// range, and none of the fields by which upstreams are told another URI or method.
pub(crate) fn carries_only_itself(request: &HeaderMap) -> bool {
    !request.keys().any(fields::makes_special)
}

/// Statuses that are cacheable without being told (RFC 9110 §15.1).
pub(super) fn cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Statuses whose caching rules this cache implements (RFC 9111 §5.2.2.3): those defined in RFC
/// 9110 §15.
fn understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, StatusCode};

    use super::{Freshness, NotStored, check};
    use crate::policy::UnixMs;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_is_stored() {
        use NotStored as N;
        const CC: &str = "cache-control";
        for (request, status, response, expected) in [
            (&[][..], 200, &[(CC, "max-age=5")][..], Ok(())),
            (&[], 599, &[(CC, "max-age=5")], Ok(())),
            (&[], 200, &[(CC, "max-age=0")], Err(N::Useless)),
            (&[], 200, &[(CC, "no-cache"), ("etag", "\"a\"")], Ok(())),
            (
                &[],
                200,
                &[("last-modified", "Sun, 09 Sep 2001 01:46:40 GMT")],
                Ok(()),
            ),
            (&[], 201, &[("etag", "\"a\"")], Err(N::Useless)),
            (&[], 200, &[], Err(N::Useless)),
            (&[], 200, &[(CC, "max-age=5, no-store")], Err(N::NoStore)),
            (
                &[],
                200,
                &[(CC, "max-age=5, no-store, must-understand")],
                Ok(()),
            ),
            (
                &[],
                599,
                &[(CC, "max-age=5, must-understand")],
                Err(N::NotUnderstood),
            ),
            (&[], 200, &[(CC, "max-age=5, private")], Err(N::Private)),
            (
                &[],
                200,
                &[(CC, "no-store"), ("cdn-cache-control", "max-age=5")],
                Ok(()),
            ),
            (
                &[(CC, "no-store")],
                200,
                &[(CC, "max-age=5")],
                Err(N::NoStore),
            ),
            (
                &[("authorization", "x")],
                200,
                &[(CC, "max-age=5")],
                Err(N::Authorization),
            ),
            (
                &[("authorization", "x")],
                200,
                &[(CC, "s-maxage=5")],
                Ok(()),
            ),
            (
                &[("authorization", "x")],
                200,
                &[(CC, "max-age=5, public")],
                Ok(()),
            ),
            (
                &[("authorization", "x")],
                200,
                &[(CC, "max-age=5, must-revalidate")],
                Ok(()),
            ),
            (
                &[],
                200,
                &[(CC, "max-age=5"), ("vary", "foo, *")],
                Err(N::VaryAny),
            ),
            (&[], 206, &[(CC, "max-age=5")], Err(N::Status)),
        ] {
            let response = headers(response);
            let freshness = Freshness::of(&response, UnixMs(0), UnixMs(0));
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                check(&headers(request), status, &response, &freshness),
                expected,
                "{response:?}"
            );
        }
    }
}
