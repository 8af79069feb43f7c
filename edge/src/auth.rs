//! Tokens: whether they let a request in, and their renewal.
//!
//! A token is taken out of a request before anything else looks at it: it is in no cache key, no
//! upstream request and no log line. What signs and says is allowed is the `tokens` crate's matter.

mod carried;
mod reading;
mod renewal;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Method;
pub use tokens::Keyset;
use tokens::{SigningKey, Verifier};

pub(crate) use reading::may_be;
pub(crate) use renewal::Renewed;

use crate::{exchange::Request, geoip::GeoIp};

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

/// What a request that was let in brings.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Subject of the token, if one was needed.
    pub(crate) subject: Option<Arc<str>>,
    /// The token's successor, where it is due.
    pub(crate) renewed: Option<Renewed>,
}

/// Who may come in.
pub(crate) struct Gate {
    verifier: ArcSwapOption<Verifier>,
    protect: ArcSwap<Vec<String>>,
    geoip: ArcSwapOption<GeoIp>,
    renewal_key: ArcSwapOption<SigningKey>,
}

impl Gate {
    /// A gate before paths that start with one of `protect`; open where there is no keyset.
    pub(crate) fn new(keyset: Option<Arc<Keyset>>, protect: Vec<String>) -> Self {
        Self {
            verifier: ArcSwapOption::new(keyset.map(|keyset| Arc::new(Verifier::new(keyset)))),
            protect: ArcSwap::from_pointee(protect),
            geoip: ArcSwapOption::empty(),
            renewal_key: ArcSwapOption::empty(),
        }
    }

    /// Replaces the keys. Verdicts belong to their keys, so that none outlives a revocation.
    pub(crate) fn set_keyset(&self, keyset: Option<Arc<Keyset>>) {
        self.verifier
            .store(keyset.map(|keyset| Arc::new(Verifier::new(keyset))));
    }

    /// Guards other paths from now on.
    pub(crate) fn set_protect(&self, protect: Vec<String>) {
        self.protect.store(Arc::new(protect));
    }

    /// Replaces what tells a client's country.
    pub(crate) fn set_geoip(&self, geoip: Option<Arc<GeoIp>>) {
        self.geoip.store(geoip);
    }

    /// Replaces the key that signs renewed tokens.
    pub(crate) fn set_renewal_key(&self, key: Option<Arc<SigningKey>>) {
        self.renewal_key.store(key);
    }

    /// Takes the token out of a request and judges it.
    ///
    /// # Errors
    /// Why the request isn't let in.
    pub(crate) fn admit(
        &self,
        request: &mut Request,
        now_unix_s: u64,
    ) -> Result<Admitted, Refusal> {
        let verifier = self.verifier.load();
        let Some(verifier) = verifier.as_ref() else {
            return Ok(Admitted::default());
        };
        let (carried, protected) = self.take(request)?;
        if !protected {
            return Ok(Admitted::default());
        }
        tokens::check_path(request.target.path()).map_err(|_| Refusal::Path("ambiguous-path"))?;
        // A preflight carries no credentials and gets no bytes (Fetch standard §3.3).
        if request.method == Method::OPTIONS {
            return Ok(Admitted::default());
        }
        let carried = carried.ok_or(Refusal::Missing)?;
        let verified = verifier
            .verify(&carried.token, &self.question(request, now_unix_s))
            .map_err(|reject| Refusal::Rejected(reject.as_str()))?;
        let renewed = verified.renewal_due(now_unix_s).then(|| {
            let key = self.renewal_key.load();
            renewal::renew(&verified, carried.way, key.as_deref(), now_unix_s)
        });
        Ok(Admitted {
            subject: verified.subject().cloned(),
            renewed: renewed.flatten(),
        })
    }

    /// Takes the token out of a request without judging it. Returns whether its path is known to be
    /// free of one.
    pub(crate) fn strip(&self, request: &mut Request) -> bool {
        self.verifier.load().is_none() || self.take(request).is_ok()
    }

    /// The token of a request, which no longer holds it, and whether it needs one.
    fn take(&self, request: &mut Request) -> Result<(Option<carried::Carried>, bool), Refusal> {
        let prefix = carried::take_prefix(request).map_err(Refusal::Path)?;
        let protected = self.protects(request.target.path());
        let other = carried::take(request, protected).map_err(Refusal::Path)?;
        Ok((prefix.or(other), protected))
    }

    /// Whether a path is behind the gate, in any reading of it.
    fn protects(&self, path: &str) -> bool {
        may_be(path, &self.protect.load())
    }

    /// What a token is judged against.
    fn question<'a>(&self, request: &'a Request, now_unix_s: u64) -> tokens::Request<'a> {
        let authority = request.authority.as_ref();
        let default = if request.scheme == http::uri::Scheme::HTTPS {
            443
        } else {
            80
        };
        let client_ip = request.peer.ip().to_canonical();
        tokens::Request {
            method: request.method.as_str(),
            scheme: request.scheme.as_str(),
            host: authority.map_or("", |a| a.host()),
            port: authority.and_then(|a| a.port_u16()).unwrap_or(default),
            path: request.target.path(),
            query: request.target.query().unwrap_or_default(),
            client_ip,
            client_country: self
                .geoip
                .load()
                .as_ref()
                .and_then(|geoip| geoip.country(client_ip)),
            now_unix_s,
        }
    }
}
