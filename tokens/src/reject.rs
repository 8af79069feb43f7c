//! Why a token was refused.

use crate::{catu::Component, path::PathFault};

/// Why a token was refused. [`Reject::as_str`] is what logs and metrics carry; the text is for
/// people and repeats nothing of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// Longer than [`crate::MAX_TOKEN_CHARS`].
    #[error("token is too long")]
    TooLong,
    /// Not base64url, not CBOR, or not shaped like a token.
    #[error("token is malformed: {0}")]
    Malformed(&'static str),
    /// Not a CWT in `COSE_Sign1` or `COSE_Mac0`.
    #[error("token is no CWT in COSE_Sign1 or COSE_Mac0")]
    NotCwt,
    /// Names no key, or one that the keyset lacks.
    #[error("token names a key that is not in the keyset")]
    UnknownKey,
    /// Names another algorithm than the one its key is pinned to.
    #[error("token's algorithm is not its key's")]
    AlgorithmMismatch,
    /// Its key is revoked.
    #[error("token's key is revoked")]
    KeyRevoked,
    /// It is revoked by its identifier.
    #[error("token is revoked")]
    TokenRevoked,
    /// Its key is not in use yet.
    #[error("token's key is not valid yet")]
    KeyNotYetValid,
    /// Its key is out of use.
    #[error("token's key has expired")]
    KeyExpired,
    /// The signature or authentication code doesn't match.
    #[error("token's signature does not match")]
    BadSignature,
    /// At or after `exp`.
    #[error("token has expired")]
    Expired,
    /// Before `nbf`, or `iat` lies in the future.
    #[error("token is not valid yet")]
    NotYetValid,
    /// `iss` is not the issuer that the key is pinned to.
    #[error("token's issuer is not its key's")]
    Issuer,
    /// `aud` names nobody here.
    #[error("token is meant for another audience")]
    Audience,
    /// `catu` doesn't allow this URI; the component that failed.
    #[error("token does not allow this URI ({})", .0.as_str())]
    Uri(Component),
    /// `catm` doesn't allow this method.
    #[error("token does not allow this method")]
    Method,
    /// `catnip` doesn't allow this client address.
    #[error("token does not allow this client address")]
    ClientAddress,
    /// `catgeoiso3166` doesn't allow the client's country, or that isn't known.
    #[error("token does not allow this client's country")]
    Country,
    /// `catv` names a version other than 1.
    #[error("token is of an unsupported version")]
    Version,
    /// A claim that this verifier can't evaluate, by its label.
    #[error("token carries claim {0}, which this verifier can't evaluate")]
    UnsupportedClaim(i64),
    /// A rule of `catu` that can't be evaluated.
    #[error("token carries a URI rule that can't be evaluated: {0}")]
    BadRule(&'static str),
    /// The request's path is ambiguous, whatever the token says.
    #[error("request path is refused: {0}")]
    Path(PathFault),
}

impl Reject {
    /// A stable word for logs and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed(_) => "malformed",
            Self::NotCwt => "not_cwt",
            Self::UnknownKey => "unknown_key",
            Self::AlgorithmMismatch => "algorithm_mismatch",
            Self::KeyRevoked => "key_revoked",
            Self::TokenRevoked => "token_revoked",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyExpired => "key_expired",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Uri(_) => "uri",
            Self::Method => "method",
            Self::ClientAddress => "client_address",
            Self::Country => "country",
            Self::Version => "version",
            Self::UnsupportedClaim(_) => "unsupported_claim",
            Self::BadRule(_) => "bad_rule",
            Self::Path(_) => "path",
        }
    }
}
