//! Keys that sign tokens, and the algorithms that keys are pinned to.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::{AsBigEndian, EcPrivateKeyBin},
    hmac, rand,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    keyset::{Material, VerifyingKey, base64url, kid_is_sound, unbase64url},
};

/// How tokens of a key are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519, public key.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256 with SHA-256, public key.
    #[serde(rename = "ES256")]
    Es256,
    /// HMAC with SHA-256, shared secret.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    /// The algorithm's identifier in COSE (RFC 9053).
    pub(crate) fn cose(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Es256 => -7,
            Self::Hs256 => 5,
        }
    }

    /// The algorithm's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }
}

/// A key that signs tokens. Its text forms never show the secret, except [`SigningKey::to_json`].
pub struct SigningKey {
    kid: String,
    inner: Inner,
}

enum Inner {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Hs256 {
        secret: Vec<u8>,
        key: Arc<hmac::Key>,
    },
}

/// A private key as JSON Web Key (RFC 7517, 8037).
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
    d: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<String>,
}

impl SigningKey {
    /// Makes an Ed25519 key.
    ///
    /// # Errors
    /// [`Error::Json`] where `kid` is empty, longer than 64 bytes or holds control characters.
    pub fn generate(kid: impl Into<String>) -> Result<Self, Error> {
        Self::generate_with(Algorithm::EdDsa, kid)
    }

    /// Makes a key of that algorithm.
    ///
    /// # Errors
    /// As [`SigningKey::generate`].
    pub fn generate_with(algorithm: Algorithm, kid: impl Into<String>) -> Result<Self, Error> {
        let failed = |_| Error::Crypto("key generation");
        let inner = match algorithm {
            Algorithm::EdDsa => Inner::EdDsa(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::Es256 => Inner::Es256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            ),
            Algorithm::Hs256 => {
                let mut secret = vec![0; 32];
                rand::fill(&mut secret).map_err(failed)?;
                Inner::hs256(secret)
            }
        };
        Self::new(kid.into(), inner)
    }

    /// A shared-secret key from at least 32 bytes.
    ///
    /// # Errors
    /// [`Error::Json`] where the secret is shorter or `kid` is unusable.
    pub fn from_secret(kid: impl Into<String>, secret: &[u8]) -> Result<Self, Error> {
        if secret.len() < 32 {
            return Err(Error::Json(
                "an HS256 secret needs at least 32 bytes".into(),
            ));
        }
        Self::new(kid.into(), Inner::hs256(secret.to_vec()))
    }

    fn new(kid: String, inner: Inner) -> Result<Self, Error> {
        if !kid_is_sound(&kid) {
            return Err(Error::Json(
                "`kid` must be 1 to 64 bytes without control characters".into(),
            ));
        }
        Ok(Self { kid, inner })
    }

    /// Reads what [`SigningKey::to_json`] wrote: a private JSON Web Key.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let jwk: Jwk = serde_json::from_str(json)
            // The cause's text could quote the secret.
            .map_err(|e| {
                Error::Json(format!(
                    "signing key: not a private JSON Web Key (line {})",
                    e.line()
                ))
            })?;
        let part = |name: &str, value: &Option<String>| {
            unbase64url(name, value.as_deref())
                .map_err(|e| Error::Json(format!("signing key: {e}")))
        };
        let wrong = |what: &str| Error::Json(format!("signing key `{}`: {what}", jwk.kid));
        let inner = match (jwk.alg, jwk.kty.as_str(), jwk.crv.as_deref()) {
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => Inner::EdDsa(
                Ed25519KeyPair::from_seed_and_public_key(&part("d", &jwk.d)?, &part("x", &jwk.x)?)
                    .map_err(|_| wrong("`d` and `x` are no Ed25519 key pair"))?,
            ),
            (Algorithm::Es256, "EC", Some("P-256")) => {
                let point = [vec![4], part("x", &jwk.x)?, part("y", &jwk.y)?].concat();
                Inner::Es256(
                    EcdsaKeyPair::from_private_key_and_public_key(
                        &ECDSA_P256_SHA256_FIXED_SIGNING,
                        &part("d", &jwk.d)?,
                        &point,
                    )
                    .map_err(|_| wrong("`d`, `x` and `y` are no P-256 key pair"))?,
                )
            }
            (Algorithm::Hs256, "oct", None) => {
                return Self::from_secret(jwk.kid, &part("k", &jwk.k)?);
            }
            _ => return Err(wrong("`alg`, `kty` and `crv` don't fit together")),
        };
        Self::new(jwk.kid, inner)
    }

    /// The private key as a JSON Web Key: **secret**, to be stored where only its owner reads.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn to_json(&self) -> Result<String, Error> {
        let failed = |_| Error::Crypto("key export");
        let (kty, crv, d, k) = match &self.inner {
            Inner::EdDsa(pair) => {
                let seed = pair.seed().map_err(failed)?;
                let seed = seed.as_be_bytes().map_err(failed)?;
                ("OKP", Some("Ed25519"), Some(base64url(seed.as_ref())), None)
            }
            Inner::Es256(pair) => {
                let key: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(failed)?;
                ("EC", Some("P-256"), Some(base64url(key.as_ref())), None)
            }
            Inner::Hs256 { secret, .. } => ("oct", None, None, Some(base64url(secret))),
        };
        let (x, y) = self.material().coordinates();
        let (alg, kid) = (self.algorithm(), self.kid.clone());
        let jwk = Jwk {
            kid,
            alg,
            kty: kty.into(),
            crv: crv.map(Into::into),
            x,
            y,
            d,
            k,
        };
        serde_json::to_string(&jwk).map_err(|_| Error::Crypto("key export"))
    }

    /// The key's identifier.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key's algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match &self.inner {
            Inner::EdDsa(_) => Algorithm::EdDsa,
            Inner::Es256(_) => Algorithm::Es256,
            Inner::Hs256 { .. } => Algorithm::Hs256,
        }
    }

    /// What verifies this key's tokens. For HS256 that is the shared secret itself.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey::from_material(self.kid.clone(), self.material())
    }

    fn material(&self) -> Material {
        match &self.inner {
            Inner::EdDsa(pair) => Material::EdDsa(pair.public_key().as_ref().to_vec()),
            Inner::Es256(pair) => Material::Es256(pair.public_key().as_ref().to_vec()),
            Inner::Hs256 { secret, key } => Material::Hs256 {
                secret: secret.clone(),
                key: key.clone(),
            },
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::Crypto("signing");
        Ok(match &self.inner {
            Inner::EdDsa(pair) => pair.try_sign(message).map_err(failed)?.as_ref().to_vec(),
            Inner::Es256(pair) => pair
                .sign(&rand::SystemRandom::new(), message)
                .map_err(failed)?
                .as_ref()
                .to_vec(),
            Inner::Hs256 { key, .. } => hmac::sign(key, message).as_ref().to_vec(),
        })
    }
}

impl Inner {
    fn hs256(secret: Vec<u8>) -> Self {
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret));
        Self::Hs256 { secret, key }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// A token identifier that nobody has used: 16 random bytes.
///
/// # Errors
/// [`Error::Crypto`] where the system gives no random bytes.
pub fn fresh_id() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| Error::Crypto("random bytes"))?;
    Ok(id)
}
