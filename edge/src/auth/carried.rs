//! Where a token travels in a request: path prefix, header, cookie, query, bearer. It is taken out
//! in whatever form, before anything else looks at the request.

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE, HeaderName, REFERER},
    uri::PathAndQuery,
};

use crate::exchange::Request;

/// Header and cookie of a token, as registered.
pub(super) static TOKEN_HEADER: HeaderName = HeaderName::from_static("cta-common-access-token");
/// The same, as a cookie.
pub(super) const TOKEN_COOKIE: &str = "CTA-Common-Access-Token";

/// How the text of every token begins: CBOR tag 61, then 17 or 18.
const TOKEN_STARTS: [&str; 2] = ["2D3R", "2D3S"];

/// Token prefixes that a path may hold, one behind the other.
const PREFIXES: usize = 4;

/// By which way a token came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Path,
    Header,
    Cookie,
    Query,
    Bearer,
}

/// A token as it came.
pub(super) struct Carried {
    pub(super) token: String,
    pub(super) way: Way,
}

/// Takes the token out of the path.
///
/// # Errors
/// Where what is left of the target can't be read.
pub(super) fn take_prefix(request: &mut Request) -> Result<Option<Carried>, &'static str> {
    let mut first = None;
    // A relative URL may have been resolved below a prefix once more.
    for _ in 0..PREFIXES {
        match take_from_path(request)? {
            Some(token) => first = first.or(Some(token)),
            None => {
                return Ok(first.map(|token| Carried {
                    token,
                    way: Way::Path,
                }));
            }
        }
    }
    Err("too-many-tokens")
}

/// Takes every token out of header, cookie, query and bearer; the first of them counts. Where no
/// token is `needed`, what only bears a token's name stays.
///
/// # Errors
/// Where what is left of the target can't be read.
pub(super) fn take(request: &mut Request, needed: bool) -> Result<Option<Carried>, &'static str> {
    let carried = |way| move |token| Carried { token, way };
    let from_header = request
        .headers
        .remove(&TOKEN_HEADER)
        .and_then(|v| v.to_str().ok().map(str::to_owned))
        .map(carried(Way::Header));
    let from_cookie = take_from_cookies(&mut request.headers).map(carried(Way::Cookie));
    let from_query = take_from_query(request, needed)?.map(carried(Way::Query));
    let from_bearer = take_bearer(&mut request.headers, needed).map(carried(Way::Bearer));
    clean_referer(&mut request.headers);
    Ok(from_header.or(from_cookie).or(from_query).or(from_bearer))
}

/// `/~{token}/rest` becomes `/rest`, and `/~{token}` becomes `/`.
fn take_from_path(request: &mut Request) -> Result<Option<String>, &'static str> {
    let Some(after) = request.target.path().strip_prefix("/~") else {
        return Ok(None);
    };
    let (token, path) = after.split_once('/').unwrap_or((after, ""));
    let token = token.to_owned();
    let rest = match request.target.query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    request.target = PathAndQuery::try_from(rest).map_err(|_| "bad-target")?;
    Ok(Some(token))
}

fn take_from_query(request: &mut Request, needed: bool) -> Result<Option<String>, &'static str> {
    let Some(query) = request.target.query() else {
        return Ok(None);
    };
    let value = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let ours = name.eq_ignore_ascii_case("cat") && (needed || looks_like_token(value));
        ours.then(|| value.to_owned())
    };
    let Some(token) = query.split('&').find_map(value) else {
        return Ok(None);
    };
    let rest: Vec<&str> = query.split('&').filter(|p| value(p).is_none()).collect();
    let path = request.target.path();
    let target = if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", rest.join("&"))
    };
    request.target = PathAndQuery::try_from(target).map_err(|_| "bad-target")?;
    Ok(Some(token))
}

fn take_from_cookies(headers: &mut HeaderMap) -> Option<String> {
    let of_token = |pair: &str| {
        pair.trim()
            .split_once('=')
            .is_some_and(|(name, _)| name.eq_ignore_ascii_case(TOKEN_COOKIE))
    };
    let lines: Vec<String> = headers
        .get_all(COOKIE)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
        .collect();
    let pairs = || lines.iter().flat_map(|line| line.split(';'));
    let token = pairs()
        .find(|pair| of_token(pair))?
        .trim()
        .split_once('=')?
        .1
        .to_owned();
    let rest: Vec<&str> = pairs()
        .map(str::trim)
        .filter(|pair| !pair.is_empty() && !of_token(pair))
        .collect();
    headers.remove(COOKIE);
    if !rest.is_empty()
        && let Ok(value) = HeaderValue::try_from(rest.join("; "))
    {
        headers.insert(COOKIE, value);
    }
    Some(token)
}

/// `Authorization: Bearer {token}` where a token is needed or this looks like one. Anything else
/// may be another's scheme and stays.
fn take_bearer(headers: &mut HeaderMap, needed: bool) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let ours = scheme.eq_ignore_ascii_case("bearer") && (needed || looks_like_token(token));
    let token = ours.then(|| token.to_owned())?;
    headers.remove(AUTHORIZATION);
    Some(token)
}

fn looks_like_token(text: &str) -> bool {
    TOKEN_STARTS.iter().any(|start| text.starts_with(start))
}

/// A page or manifest fetched by a URL with a token names that URL in `Referer`: only its origin
/// travels on.
fn clean_referer(headers: &mut HeaderMap) {
    let Some(referer) = headers.get(REFERER) else {
        return;
    };
    let text = String::from_utf8_lossy(referer.as_bytes()).to_ascii_lowercase();
    if !text.contains("/~") && !text.contains("cat=") {
        return;
    }
    let origin = text.split_once("://").map(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        format!("{scheme}://{host}/")
    });
    // What isn't a URL with a host, or holds the token in its authority, goes altogether.
    match origin.filter(|o| !o.contains(['~', '@']) && !o.contains("cat=")) {
        Some(origin) => match HeaderValue::try_from(origin) {
            Ok(value) => {
                headers.insert(REFERER, value);
            }
            Err(_) => {
                headers.remove(REFERER);
            }
        },
        None => {
            headers.remove(REFERER);
        }
    }
}
