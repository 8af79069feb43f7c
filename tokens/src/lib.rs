//! Common Access Tokens (CTA-5007): mint, verify, keysets.
//!
//! A token is a CBOR Web Token (RFC 8392, tag 61) in `COSE_Sign1` (EdDSA, ES256) or `COSE_Mac0`
//! (HS256), written as base64url without padding. Each key of a [`Keyset`] is pinned to one
//! algorithm, so that a token can't choose how it is checked. A claim that restricts and that this
//! crate can't evaluate rejects the token.
//!
//! Owns the wire format and the rules. Does not own where a token travels in a request (edge), who
//! is given one (origin), nor any clock: `now` is a parameter everywhere.
//!
//! ```
//! use tokens::{Claims, Keyset, Request, Scope, SigningKey};
//!
//! let key = SigningKey::generate("2026-11")?;
//! let keyset = Keyset::new([key.public()])?;
//! let now = 1_800_000_000;
//! let claims = Claims::listening("anna", now, std::time::Duration::from_secs(3600)).scope(Scope::Track("t0abc".into()));
//! let token = tokens::mint(&key, &claims)?;
//!
//! let request = Request {
//!     method: "GET",
//!     scheme: "https",
//!     host: "music.example",
//!     port: 443,
//!     path: "/media/t0abc/00ff/opus-96.mp4",
//!     query: "",
//!     client_ip: std::net::IpAddr::from([127, 0, 0, 1]),
//!     client_country: None,
//!     now_unix_s: now + 10,
//! };
//! let verified = tokens::verify(&keyset, &token, &request)?;
//! assert_eq!(verified.claims().sub.as_deref(), Some("anna"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catgeo;
mod catnip;
mod catr;
mod catu;
mod cbor;
mod claims;
mod envelope;
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod keyset;
mod limits;
mod path;
mod reject;
mod renew;
mod signature;
mod verifier;
mod verify;

pub use catgeo::Country;
pub use catnip::Network;
pub use catr::{Renewal, RenewalKind};
pub use catu::{Component, Match, Rule};
pub use claims::{Claims, Scope};
pub use envelope::mint;
pub use key::{Algorithm, SigningKey, fresh_id};
pub use keyset::{Keyset, VerifyingKey};
pub use limits::MAX_TOKEN_CHARS;
pub use path::{PathFault, check_path};
pub use reject::Reject;
pub use verifier::Verifier;
pub use verify::{Inspected, Request, Verified, authenticate, inspect, verify};

/// Failures of making keys, keysets and tokens. None carries key material.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The JSON of a key or keyset can't be used; the text says where and why.
    #[error("{0}")]
    Json(String),
    /// A claim can't be written.
    #[error("claim can't be minted: {0}")]
    Claim(&'static str),
    /// The cryptographic library failed.
    #[error("cryptographic operation failed: {0}")]
    Crypto(&'static str),
}
