//! Tokens as issuers and verifiers meet them.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod forgery;
mod interop;
mod keysets;
mod rules;
mod times;

use std::{net::IpAddr, time::Duration};

use tokens::{Claims, Keyset, Reject, Request, Scope, SigningKey};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const TRACK: &str = "t0123456789abcdefghjk";

pub(crate) fn request(path: &str) -> Request<'_> {
    Request {
        method: "GET",
        scheme: "https",
        host: "music.example",
        port: 8443,
        path,
        query: "",
        client_ip: IpAddr::from([192, 0, 2, 7]),
        client_country: None,
        now_unix_s: NOW,
    }
}

pub(crate) fn key() -> (SigningKey, Keyset) {
    let key = SigningKey::generate("k1").unwrap();
    let keyset = Keyset::new([key.public()]).unwrap();
    (key, keyset)
}

pub(crate) fn listener() -> Claims {
    Claims::listening("anna", NOW, Duration::from_secs(3600)).scope(Scope::Track(TRACK.into()))
}

/// The verdict on `claims`, freshly signed, for a request.
pub(crate) fn verdict(claims: &Claims, request: &Request<'_>) -> Result<(), Reject> {
    let (key, keyset) = key();
    tokens::verify(&keyset, &tokens::mint(&key, claims).unwrap(), request).map(drop)
}
