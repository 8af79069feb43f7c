//! The keys that a verifier trusts, with their times, and what it demands of tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    key::{Algorithm, SigningKey},
    limits::{MAX_KEYS, MAX_KEYSET_BYTES, MAX_KID_BYTES, MAX_LEEWAY_S, MAX_REVOKED_TOKENS},
    reject::Reject,
    signature::{ed25519, p256},
};

/// A key that verifies tokens, pinned to one algorithm. Its `Debug` shows no key material.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    material: Material,
    parsed: Option<Arc<Parsed>>,
    /// First second at which the key is trusted.
    pub not_before: Option<u64>,
    /// First second at which it no longer is.
    pub not_after: Option<u64>,
    /// Whether every token of this key is refused from now on.
    pub revoked: bool,
    /// The issuer that this key's tokens must name, where pinned.
    pub issuer: Option<String>,
}

/// A public key, ready for use.
enum Parsed {
    EdDsa(ed25519::PublicKey),
    Es256(p256::PublicKey),
}

impl Parsed {
    /// `None` where the bytes are no key that could be trusted.
    fn new(material: &Material) -> Option<Self> {
        match material {
            Material::EdDsa(x) => ed25519::PublicKey::new(x).map(Self::EdDsa),
            Material::Es256(point) => p256::PublicKey::new(point).map(Self::Es256),
            Material::Hs256 { .. } => None,
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::EdDsa(key) => key.verifies(message, signature),
            Self::Es256(key) => key.verifies(message, signature),
        }
    }
}

/// Key bytes by algorithm.
#[derive(Clone)]
pub(crate) enum Material {
    /// 32 bytes.
    EdDsa(Vec<u8>),
    /// Uncompressed point, 65 bytes.
    Es256(Vec<u8>),
    Hs256 {
        secret: Vec<u8>,
        key: Arc<hmac::Key>,
    },
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::EdDsa(a), Self::EdDsa(b)) | (Self::Es256(a), Self::Es256(b)) => a == b,
            (Self::Hs256 { secret: a, .. }, Self::Hs256 { secret: b, .. }) => {
                constant_time::verify_slices_are_equal(a, b).is_ok()
            }
            _ => false,
        }
    }
}

impl Material {
    /// `x` and `y` of a JSON Web Key.
    pub(crate) fn coordinates(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::EdDsa(x) => (Some(base64url(x)), None),
            Self::Es256(point) => (
                Some(base64url(&point[1..33])),
                Some(base64url(&point[33..])),
            ),
            Self::Hs256 { .. } => (None, None),
        }
    }
}

impl VerifyingKey {
    pub(crate) fn from_material(kid: String, material: Material) -> Self {
        // Unparsable bytes leave `parsed` empty, and then nothing verifies; reading JSON refuses
        // them, and a key pair's own public half always parses.
        let parsed = Parsed::new(&material).map(Arc::new);
        Self {
            kid,
            material,
            parsed,
            not_before: None,
            not_after: None,
            revoked: false,
            issuer: None,
        }
    }

    /// Limits the time in which the key is trusted, in seconds since 1970: from `not_before` on,
    /// up to before `not_after`.
    #[must_use]
    pub fn valid(mut self, not_before: Option<u64>, not_after: Option<u64>) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    /// Pins the issuer that this key's tokens must name.
    #[must_use]
    pub fn issued_by(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Refuses every token of this key.
    #[must_use]
    pub fn revoke(mut self) -> Self {
        self.revoked = true;
        self
    }

    /// The key's identifier.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that the key is pinned to.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::EdDsa(_) => Algorithm::EdDsa,
            Material::Es256(_) => Algorithm::Es256,
            Material::Hs256 { .. } => Algorithm::Hs256,
        }
    }

    /// What signs this key's tokens, where that is the same secret (HS256).
    pub fn shared_secret(&self) -> Option<SigningKey> {
        match &self.material {
            Material::Hs256 { secret, .. } => SigningKey::from_secret(&self.kid, secret).ok(),
            _ => None,
        }
    }

    /// Whether this verifies what `key` signs.
    pub fn belongs_to(&self, key: &SigningKey) -> bool {
        let theirs = key.public();
        self.kid == theirs.kid && self.material == theirs.material
    }

    /// Whether the key is trusted at `now`.
    pub(crate) fn check_time(&self, now_unix_s: u64) -> Result<(), Reject> {
        if self.revoked {
            return Err(Reject::KeyRevoked);
        }
        if self.not_before.is_some_and(|t| now_unix_s < t) {
            return Err(Reject::KeyNotYetValid);
        }
        if self.not_after.is_some_and(|t| now_unix_s >= t) {
            return Err(Reject::KeyExpired);
        }
        Ok(())
    }

    pub(crate) fn check_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), Reject> {
        let verified = match (&self.material, &self.parsed) {
            (Material::Hs256 { key, .. }, _) => hmac::verify(key, message, signature).is_ok(),
            (_, Some(key)) => key.verifies(message, signature),
            (_, None) => false,
        };
        if verified {
            Ok(())
        } else {
            Err(Reject::BadSignature)
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .field("revoked", &self.revoked)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The keys that a verifier trusts. Several overlap during rotation: publish the new key, sign
/// with it once every verifier has it, drop the old one when its last token has expired.
#[derive(Clone, Debug, Default)]
pub struct Keyset {
    keys: BTreeMap<String, Arc<VerifyingKey>>,
    leeway_s: u64,
    audiences: Vec<String>,
    /// Identifiers (`cti`) of tokens that are refused though their key is trusted.
    revoked: BTreeSet<Vec<u8>>,
}

/// A keyset as JSON: a JSON Web Key Set (RFC 7517 §5) with this verifier's settings beside it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    #[serde(default, skip_serializing_if = "is_zero")]
    leeway_s: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    audiences: Vec<String>,
    /// Identifiers (`cti`) of revoked tokens, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked_tokens: Vec<String>,
    keys: Vec<Jwk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kid: String,
    alg: Algorithm,
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    revoked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// Written by other tools; says nothing new here.
    #[serde(default, rename = "use", skip_serializing)]
    _use: Option<String>,
    #[serde(default, skip_serializing)]
    _key_ops: Option<Vec<String>>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Keyset {
    /// A keyset of these keys, with no leeway and no audience.
    ///
    /// # Errors
    /// [`Error::Json`] where two keys share an identifier or there are more than 64.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, Error> {
        let mut set = Self::default();
        for key in keys {
            set.insert(key)?;
        }
        Ok(set)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`Error::Json`] where its identifier is taken or there are 64 keys.
    pub fn insert(&mut self, key: VerifyingKey) -> Result<(), Error> {
        if self.keys.contains_key(&key.kid) {
            return Err(Error::Json(format!(
                "keyset: two keys with kid `{}`",
                key.kid
            )));
        }
        if self.keys.len() == MAX_KEYS {
            return Err(Error::Json(format!("keyset: more than {MAX_KEYS} keys")));
        }
        self.keys.insert(key.kid.clone(), Arc::new(key));
        Ok(())
    }

    /// Allows clocks of issuer and verifier to differ by that many seconds, at most 30.
    #[must_use]
    pub fn leeway(mut self, seconds: u64) -> Self {
        self.leeway_s = seconds.min(MAX_LEEWAY_S);
        self
    }

    /// Names an audience that this verifier is. Tokens that name others only are refused.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Refuses the token of that identifier (`cti`), and whatever it is renewed to.
    ///
    /// # Errors
    /// [`Error::Json`] where the identifier is empty or 16,384 are revoked.
    pub fn revoke_token(mut self, cti: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let cti = cti.into();
        if cti.is_empty() {
            return Err(Error::Json("keyset: an empty token identifier".into()));
        }
        self.revoked.insert(cti);
        if self.revoked.len() > MAX_REVOKED_TOKENS {
            return Err(Error::Json(format!(
                "keyset: more than {MAX_REVOKED_TOKENS} revoked tokens"
            )));
        }
        Ok(self)
    }

    /// Whether the token of that identifier is refused.
    pub(crate) fn is_revoked(&self, cti: &[u8]) -> bool {
        self.revoked.contains(cti)
    }

    /// Reads a keyset's JSON.
    ///
    /// # Errors
    /// [`Error::Json`] with a sentence that names the key, never its material.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        if json.len() > MAX_KEYSET_BYTES {
            return Err(Error::Json(format!(
                "keyset: larger than {MAX_KEYSET_BYTES} bytes"
            )));
        }
        let json: Json = serde_json::from_str(json).map_err(|e| {
            Error::Json(format!(
                "keyset: unexpected content at line {}, column {}",
                e.line(),
                e.column()
            ))
        })?;
        if json.leeway_s > MAX_LEEWAY_S {
            return Err(Error::Json(format!(
                "keyset: `leeway_s` is above {MAX_LEEWAY_S}"
            )));
        }
        let mut set = Self {
            leeway_s: json.leeway_s,
            audiences: json.audiences,
            ..Self::default()
        };
        for id in &json.revoked_tokens {
            let cti = hex::decode(id)
                .map_err(|_| Error::Json("keyset: `revoked_tokens` must be hexadecimal".into()))?;
            set = set.revoke_token(cti)?;
        }
        for jwk in json.keys {
            set.insert(jwk.read()?)?;
        }
        Ok(set)
    }

    /// The keyset as JSON for anyone to read: keys with a shared secret are left out.
    pub fn to_json(&self) -> String {
        self.write(false)
    }

    /// The keyset as JSON including shared secrets: **secret** as soon as it holds an HS256 key.
    pub fn to_json_with_secrets(&self) -> String {
        self.write(true)
    }

    fn write(&self, secrets: bool) -> String {
        let shown = |key: &&VerifyingKey| secrets || key.algorithm() != Algorithm::Hs256;
        let json = Json {
            leeway_s: self.leeway_s,
            audiences: self.audiences.clone(),
            revoked_tokens: self.revoked.iter().map(hex::encode).collect(),
            keys: self.keys().filter(shown).map(Jwk::write).collect(),
        };
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// The key of that identifier.
    pub fn key(&self, kid: &str) -> Option<&Arc<VerifyingKey>> {
        self.keys.get(kid)
    }

    /// All keys, by identifier.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.values().map(Arc::as_ref)
    }

    /// Whether nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn leeway_s(&self) -> u64 {
        self.leeway_s
    }

    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }
}

impl Jwk {
    fn read(self) -> Result<VerifyingKey, Error> {
        let wrong = |what: &str| Error::Json(format!("keyset: key `{}`: {what}", self.kid));
        if !kid_is_sound(&self.kid) {
            return Err(wrong(
                "`kid` must be 1 to 64 bytes without control characters",
            ));
        }
        let part = |name: &str, value: &Option<String>| {
            unbase64url(name, value.as_deref()).map_err(|e| wrong(&e))
        };
        let material = match (self.alg, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => Material::EdDsa(part("x", &self.x)?),
            (Algorithm::Es256, "EC", Some("P-256")) => {
                Material::Es256([vec![4], part("x", &self.x)?, part("y", &self.y)?].concat())
            }
            (Algorithm::Hs256, "oct", None) => {
                let secret = part("k", &self.k)?;
                if secret.len() < 32 {
                    return Err(wrong("an HS256 secret needs at least 32 bytes"));
                }
                let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret));
                Material::Hs256 { secret, key }
            }
            _ => return Err(wrong("`alg`, `kty` and `crv` don't fit together")),
        };
        let key = VerifyingKey::from_material(self.kid.clone(), material);
        if key.parsed.is_none() && self.alg != Algorithm::Hs256 {
            return Err(wrong("`x` (and `y`) are no public key"));
        }
        let Self {
            not_before,
            not_after,
            revoked,
            issuer,
            ..
        } = self;
        Ok(VerifyingKey {
            not_before,
            not_after,
            revoked,
            issuer,
            ..key
        })
    }

    fn write(key: &VerifyingKey) -> Self {
        let (kty, crv, k) = match &key.material {
            Material::EdDsa(_) => ("OKP", Some("Ed25519"), None),
            Material::Es256(_) => ("EC", Some("P-256"), None),
            Material::Hs256 { secret, .. } => ("oct", None, Some(base64url(secret))),
        };
        let (x, y) = key.material.coordinates();
        Self {
            kid: key.kid.clone(),
            alg: key.algorithm(),
            kty: kty.into(),
            crv: crv.map(Into::into),
            x,
            y,
            k,
            not_before: key.not_before,
            not_after: key.not_after,
            revoked: key.revoked,
            issuer: key.issuer.clone(),
            _use: None,
            _key_ops: None,
        }
    }
}

pub(crate) fn kid_is_sound(kid: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&kid.len()) && !kid.chars().any(char::is_control)
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unbase64url(name: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let value = value.ok_or_else(|| format!("`{name}` is missing"))?;
    URL_SAFE_NO_PAD
        .decode(value)
        .map_err(|_| format!("`{name}` is not base64url without padding"))
}
