//! The verdict on a token: once for its signature and shape, then for each request.

use std::{net::IpAddr, sync::Arc};

use crate::{
    catgeo::Country,
    catu::Matchers,
    claims::Claims,
    envelope::{self, Envelope},
    key::Algorithm,
    keyset::{Keyset, VerifyingKey},
    limits::MAX_LEEWAY_S,
    path::check_path,
    reject::Reject,
};

/// What a token is judged against: the request as received, without the token in any form.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host without port.
    pub host: &'a str,
    /// Port that the client addressed.
    pub port: u16,
    /// Path as sent, without query and without a token prefix.
    pub path: &'a str,
    /// Query without `?` and without a token parameter; empty where there is none.
    pub query: &'a str,
    /// The client's address.
    pub client_ip: IpAddr,
    /// The client's country, where it is known.
    pub client_country: Option<Country>,
    /// Seconds since 1970.
    pub now_unix_s: u64,
}

/// A token whose signature, key and claims are sound. Costly to make, cheap to
/// [`check`](Verified::check): keep it by the token's text until its keyset changes.
#[derive(Debug)]
pub struct Verified {
    claims: Claims,
    matchers: Matchers,
    key: Arc<VerifyingKey>,
    leeway_s: u64,
    /// `sub`, to be handed on without a copy.
    subject: Option<Arc<str>>,
}

/// What a token says, with nothing of it verified.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The key that it names.
    pub kid: String,
    /// The algorithm that it names, where it is a known one.
    pub algorithm: Option<Algorithm>,
    /// Its claims.
    pub claims: Claims,
}

/// Verifies a token for one request: [`authenticate`], then [`Verified::check`].
///
/// # Errors
/// Why the request is refused.
pub fn verify(keyset: &Keyset, token: &str, request: &Request<'_>) -> Result<Verified, Reject> {
    let verified = authenticate(keyset, token, request.now_unix_s)?;
    verified.check(request)?;
    Ok(verified)
}

/// Verifies what doesn't depend on the request: shape, key, signature, claims that can be
/// evaluated, issuer, audience, revocation. Compiles the URI rules.
///
/// # Errors
/// Why no request with this token can be served.
pub fn authenticate(keyset: &Keyset, token: &str, now_unix_s: u64) -> Result<Verified, Reject> {
    let bytes = envelope::decode(token)?;
    let envelope = Envelope::parse(&bytes)?;
    let key = keyset.key(envelope.kid).ok_or(Reject::UnknownKey)?;
    if !envelope.is_of(key.algorithm()) {
        return Err(Reject::AlgorithmMismatch);
    }
    key.check_time(now_unix_s)?;
    key.check_signature(&envelope.message(), envelope.signature)?;
    let claims = Claims::read(envelope.payload)?;
    if key.issuer.is_some() && claims.iss != key.issuer {
        return Err(Reject::Issuer);
    }
    if !claims.aud.is_empty()
        && !claims
            .aud
            .iter()
            .any(|aud| keyset.audiences().contains(aud))
    {
        return Err(Reject::Audience);
    }
    if claims
        .cti
        .as_ref()
        .is_some_and(|cti| keyset.is_revoked(cti))
    {
        return Err(Reject::TokenRevoked);
    }
    let matchers = Matchers::compile(&claims.catu)?;
    let verified = Verified {
        subject: claims.sub.as_deref().map(Arc::from),
        claims,
        matchers,
        key: key.clone(),
        leeway_s: keyset.leeway_s(),
    };
    verified.check_time(now_unix_s)?;
    Ok(verified)
}

/// Takes a token apart without verifying anything, to show it to its owner.
///
/// # Errors
/// Why it can't be read.
pub fn inspect(token: &str) -> Result<Inspected, Reject> {
    let bytes = envelope::decode(token)?;
    let envelope = Envelope::parse(&bytes)?;
    let claims = Claims::read(envelope.payload)?;
    Ok(Inspected {
        kid: envelope.kid.into(),
        algorithm: envelope.algorithm(),
        claims,
    })
}

impl Verified {
    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Who listens, where the token says.
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.subject.as_ref()
    }

    /// The key that signed it.
    pub fn kid(&self) -> &str {
        self.key.kid()
    }

    pub(crate) fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// First second at which the token is refused, leeway included, as far as it and its key say.
    pub fn expires_at(&self) -> Option<u64> {
        let claim = self.claims.exp.map(|exp| exp.saturating_add(self.leeway_s));
        [claim, self.key.not_after].into_iter().flatten().min()
    }

    /// Checks whether the token opens this request. Allocates little and never blocks.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Reject> {
        self.check_time(request.now_unix_s)?;
        check_path(request.path).map_err(Reject::Path)?;
        self.matchers.check(request)?;
        let Claims {
            catm,
            catnip,
            catgeoiso3166,
            ..
        } = &self.claims;
        if catm
            .as_ref()
            .is_some_and(|methods| !methods.iter().any(|m| m == request.method))
        {
            return Err(Reject::Method);
        }
        if catnip
            .as_ref()
            .is_some_and(|nets| !nets.iter().any(|net| net.admits(request.client_ip)))
        {
            return Err(Reject::ClientAddress);
        }
        if catgeoiso3166.as_ref().is_some_and(|countries| {
            !request
                .client_country
                .is_some_and(|country| countries.contains(&country))
        }) {
            return Err(Reject::Country);
        }
        Ok(())
    }

    /// `exp` is the first second of refusal, `nbf` the first of acceptance (RFC 7519 §4.1.4–5).
    fn check_time(&self, now: u64) -> Result<(), Reject> {
        self.key.check_time(now)?;
        if self
            .claims
            .exp
            .is_some_and(|exp| now >= exp.saturating_add(self.leeway_s))
        {
            return Err(Reject::Expired);
        }
        if self
            .claims
            .nbf
            .is_some_and(|nbf| now.saturating_add(self.leeway_s) < nbf)
        {
            return Err(Reject::NotYetValid);
        }
        // `iat` is no start of validity; only one beyond any clock's error is a fault.
        if self
            .claims
            .iat
            .is_some_and(|iat| now.saturating_add(MAX_LEEWAY_S) < iat)
        {
            return Err(Reject::NotYetValid);
        }
        Ok(())
    }
}
