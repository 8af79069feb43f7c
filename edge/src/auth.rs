//! Tokens: where they travel in a request, and whether they let it in.
//!
//! A token is taken out of a request before anything else looks at it: it is in no cache key, no
//! upstream request and no log line. What signs and says is allowed is the `tokens` crate's matter.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{
    HeaderMap, HeaderValue, Method,
    header::{AUTHORIZATION, COOKIE, HeaderName},
    uri::PathAndQuery,
};
use parking_lot::Mutex;
pub use tokens::Keyset;
use tokens::Verified;

use crate::exchange::Request;

static TOKEN_HEADER: HeaderName = HeaderName::from_static("cta-common-access-token");
const TOKEN_COOKIE: &str = "CTA-Common-Access-Token";

/// Verdicts remembered: so many in each of two generations of each shard.
const VERDICTS: usize = 512;
const SHARDS: usize = 16;

/// Why a request isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: the path can be read in more than one way.
    Path(&'static str),
    /// 401: no token.
    Missing,
    /// 403: a token that doesn't open this; the word is for the log.
    Rejected(&'static str),
}

/// Who may come in.
pub(crate) struct Gate {
    keyset: ArcSwapOption<Keyset>,
    protect: ArcSwap<Vec<String>>,
    verdicts: Verdicts,
}

impl Gate {
    /// A gate before paths that start with one of `protect`; open where there is no keyset.
    pub(crate) fn new(keyset: Option<Arc<Keyset>>, protect: Vec<String>) -> Self {
        Self {
            keyset: ArcSwapOption::new(keyset),
            protect: ArcSwap::from_pointee(protect),
            verdicts: Verdicts::new(),
        }
    }

    /// Replaces the keys and forgets all verdicts.
    pub(crate) fn set_keyset(&self, keyset: Option<Arc<Keyset>>) {
        self.keyset.store(keyset);
        self.verdicts.forget();
    }

    /// Guards other paths from now on.
    pub(crate) fn set_protect(&self, protect: Vec<String>) {
        self.protect.store(Arc::new(protect));
    }

    /// Takes the token out of a request and judges it. The subject of the token, if one was needed.
    ///
    /// # Errors
    /// Why the request isn't let in.
    pub(crate) fn admit(
        &self,
        request: &mut Request,
        now_unix_s: u64,
    ) -> Result<Option<Arc<str>>, Refusal> {
        let keyset = self.keyset.load();
        let Some(keyset) = keyset.as_ref() else {
            return Ok(None);
        };
        let token = take_token(request);
        if !self.protects(request.target.path()) {
            return Ok(None);
        }
        tokens::check_path(request.target.path()).map_err(|_| Refusal::Path("ambiguous-path"))?;
        // A preflight carries no credentials and gets no bytes (Fetch standard §3.3).
        if request.method == Method::OPTIONS {
            return Ok(None);
        }
        let token = token
            .or_else(|| take_bearer(&mut request.headers))
            .ok_or(Refusal::Missing)?;
        let rejected = |reject: tokens::Reject| Refusal::Rejected(reject.as_str());
        let verdict = self.verdicts.get(&token);
        let fresh = verdict.is_none();
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => Arc::new(Verdict::of(
                tokens::authenticate(keyset, &token, now_unix_s).map_err(rejected)?,
            )),
        };
        verdict
            .verified
            .check(&question(request, now_unix_s))
            .map_err(rejected)?;
        if fresh {
            self.verdicts.put(token, verdict.clone());
        }
        Ok(verdict.subject.clone())
    }

    /// Whether a path is behind the gate, in any reading of it.
    fn protects(&self, path: &str) -> bool {
        let read = plainly(path);
        self.protect
            .load()
            .iter()
            .any(|prefix| read.starts_with(prefix.as_str()) || path.starts_with(prefix.as_str()))
    }
}

/// What a token is judged against.
fn question(request: &Request, now_unix_s: u64) -> tokens::Request<'_> {
    let authority = request.authority.as_ref();
    let default = if request.scheme == http::uri::Scheme::HTTPS {
        443
    } else {
        80
    };
    tokens::Request {
        method: request.method.as_str(),
        scheme: request.scheme.as_str(),
        host: authority.map_or("", |a| a.host()),
        port: authority.and_then(|a| a.port_u16()).unwrap_or(default),
        path: request.target.path(),
        query: request.target.query().unwrap_or_default(),
        client_ip: request.peer.ip().to_canonical(),
        now_unix_s,
    }
}

/// A path as a careless upstream might read it: decoded until nothing is left to decode,
/// backslashes as slashes, no empty or dot segments. For comparing prefixes only.
fn plainly(path: &str) -> Cow<'_, str> {
    if !path.contains(['%', '\\']) && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let mut text = path.as_bytes().to_vec();
    while let Some(decoded) = decoded(&text) {
        text = decoded;
    }
    let text = String::from_utf8_lossy(&text).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
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
    Cow::Owned(format!("/{}{tail}", segments.join("/")))
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

/// Takes the token out of path, header, cookie and query; the first of them counts.
fn take_token(request: &mut Request) -> Option<String> {
    let from_path = take_from_path(request);
    let from_header = request
        .headers
        .remove(&TOKEN_HEADER)
        .and_then(|v| v.to_str().ok().map(str::to_owned));
    let from_cookie = take_from_cookies(&mut request.headers);
    let from_query = take_from_query(request);
    from_path.or(from_header).or(from_cookie).or(from_query)
}

/// `/~{token}/rest` becomes `/rest`.
fn take_from_path(request: &mut Request) -> Option<String> {
    let (token, rest) = request
        .target
        .as_str()
        .strip_prefix("/~")?
        .split_once('/')?;
    let (token, rest) = (token.to_owned(), format!("/{rest}"));
    request.target = PathAndQuery::try_from(rest).ok()?;
    Some(token)
}

fn take_from_query(request: &mut Request) -> Option<String> {
    let query = request.target.query()?;
    let of_token = |pair: &&str| pair.starts_with("CAT=") || pair.starts_with("cat=");
    let token = query
        .split('&')
        .find(of_token)?
        .split_once('=')?
        .1
        .to_owned();
    let rest: Vec<&str> = query.split('&').filter(|pair| !of_token(pair)).collect();
    let path = request.target.path();
    let target = if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", rest.join("&"))
    };
    request.target = PathAndQuery::try_from(target).ok()?;
    Some(token)
}

fn take_from_cookies(headers: &mut HeaderMap) -> Option<String> {
    let of_token = |pair: &str| {
        pair.trim()
            .split_once('=')
            .is_some_and(|(name, _)| name == TOKEN_COOKIE)
    };
    let lines: Vec<String> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|l| l.to_str().ok())
        .map(str::to_owned)
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

/// `Authorization: Bearer {token}`: only where a token is needed, since it may be another's scheme
/// elsewhere.
fn take_bearer(headers: &mut HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())?;
    headers.remove(AUTHORIZATION);
    Some(token)
}

/// A sound token.
struct Verdict {
    verified: Verified,
    subject: Option<Arc<str>>,
}

impl Verdict {
    fn of(verified: Verified) -> Self {
        let subject = verified.claims().sub.as_deref().map(Arc::from);
        Self { verified, subject }
    }
}

/// Sound tokens seen lately, by their text. Two generations: when the young one is full it becomes
/// the old one, and what was in the old one is forgotten.
struct Verdicts {
    shards: [Mutex<Generations>; SHARDS],
    hasher: RandomState,
}

#[derive(Default)]
struct Generations {
    young: HashMap<String, Arc<Verdict>>,
    old: HashMap<String, Arc<Verdict>>,
}

impl Verdicts {
    fn new() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    fn get(&self, token: &str) -> Option<Arc<Verdict>> {
        let mut shard = self.shard(token).lock();
        if let Some(verdict) = shard.young.get(token) {
            return Some(verdict.clone());
        }
        let (token, verdict) = shard.old.remove_entry(token)?;
        shard.put(token, verdict.clone());
        Some(verdict)
    }

    fn put(&self, token: String, verdict: Arc<Verdict>) {
        self.shard(&token).lock().put(token, verdict);
    }

    fn forget(&self) {
        self.shards
            .iter()
            .for_each(|shard| *shard.lock() = Generations::default());
    }

    fn shard(&self, token: &str) -> &Mutex<Generations> {
        let n = usize::try_from(self.hasher.hash_one(token) % SHARDS as u64).unwrap_or(0);
        &self.shards[n]
    }
}

impl Generations {
    fn put(&mut self, token: String, verdict: Arc<Verdict>) {
        if self.young.len() >= VERDICTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, verdict);
    }
}
