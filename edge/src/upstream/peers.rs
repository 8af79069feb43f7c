//! The edges of one place: each owns a share of all objects, by rendezvous hashing of their keys with
//! bounded load, and is asked for them before an origin is.
//!
//! A request that a peer has sent is never sent to another (`CDN-Loop` tells), so that edges that
//! disagree on who owns what cost one hop, not a loop. A peer that fails is passed over at once.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tokens::{Claims, Component, Match, SigningKey};

use super::{
    choose::{self, Candidate, LOAD_FLOOR},
    node::{Node, Ticket},
};
use crate::exchange::{BoxBody, RequestBody};

static TOKEN: HeaderName = HeaderName::from_static("cta-common-access-token");

/// Key id under which members' tokens are verified.
const KEY_ID: &str = "segue-peers";

/// How long a member's token is good for.
const TOKEN_FOR: Duration = Duration::from_secs(600);

/// What a member is sent instead of a client's token: its own, good for every path.
pub(super) struct Pass {
    key: SigningKey,
    current: ArcSwapOption<(HeaderValue, u64)>,
}

/// The key that members sign and verify with.
///
/// # Errors
/// Where the secret is too short.
pub(super) fn key(secret: &str) -> Result<SigningKey, tokens::Error> {
    SigningKey::from_secret(KEY_ID, secret.as_bytes())
}

/// Lets the members of a configuration's group in: adds what verifies their tokens to a keyset.
///
/// # Errors
/// Where the secret is too short, or a key of that name is there already.
pub fn admit_peers(
    keyset: &mut tokens::Keyset,
    peers: &super::config::Peers,
) -> Result<(), tokens::Error> {
    match &peers.secret {
        Some(secret) if !peers.members.is_empty() => keyset.insert(key(secret.expose())?.public()),
        _ => Ok(()),
    }
}

impl Pass {
    pub(super) fn new(key: SigningKey) -> Self {
        Self {
            key,
            current: ArcSwapOption::empty(),
        }
    }

    /// The token now; minted anew once half its time is over.
    fn token(&self, now_unix_s: u64) -> Option<HeaderValue> {
        if let Some(current) = self.current.load().as_ref()
            && now_unix_s < current.1
        {
            return Some(current.0.clone());
        }
        let claims = Claims {
            exp: Some(now_unix_s + TOKEN_FOR.as_secs()),
            iat: Some(now_unix_s),
            ..Claims::default()
        }
        .rule(Component::Path, Match::Prefix("/".into()));
        let token = tokens::mint(&self.key, &claims).ok()?;
        let mut value = HeaderValue::from_str(&token).ok()?;
        value.set_sensitive(true);
        let renew = now_unix_s + TOKEN_FOR.as_secs() / 2;
        self.current.store(Some(Arc::new((value.clone(), renew))));
        Some(value)
    }
}

/// A group of edges as one of them sees it.
pub(super) struct Peers {
    /// In the configuration's order; none for this edge itself.
    pub(super) members: Vec<Option<Arc<Node>>>,
    /// Hash of this edge's own URL.
    pub(super) own_id: u64,
    pub(super) pass: Option<Pass>,
}

impl Peers {
    /// The member that owns a key, unless that is this edge or nobody. `own_load` is what this edge
    /// has under way itself.
    pub(super) fn owner(
        &self,
        key: u64,
        own_load: u32,
        now: Instant,
    ) -> Option<(Arc<Node>, Ticket)> {
        let candidates = self.members.iter().map(|member| match member {
            Some(node) => node.candidate(node.is_open_to(now)),
            None => Candidate {
                id: self.own_id,
                weight: 1,
                load: own_load,
                eligible: true,
            },
        });
        let chosen = choose::by_key(key, candidates, LOAD_FLOOR)?;
        let node = self.members.get(chosen)?.as_ref()?;
        let ticket = node.admit(now)?;
        Some((Arc::clone(node), ticket))
    }

    /// Lets a request in at a member.
    pub(super) fn sign(&self, request: &mut Request<RequestBody>) {
        let Some(pass) = &self.pass else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        if let Some(token) = pass.token(now.map_or(0, |since| since.as_secs())) {
            request.headers_mut().insert(TOKEN.clone(), token);
        }
    }
}

/// Whether a member's answer speaks for the origin. Where it only says that the member itself can't
/// or won't, the origin is asked.
pub(super) fn speaks(response: &Response<BoxBody>) -> bool {
    !matches!(
        response.status(),
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::LOOP_DETECTED
    )
}
