//! The token around its claims: base64url, CWT tag, COSE structure, headers.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Error,
    cbor::{Major, Reader, Writer},
    claims::Claims,
    key::{Algorithm, SigningKey},
    limits::{MAX_KID_BYTES, MAX_TOKEN_CHARS},
    reject::Reject,
};

/// CWT (RFC 8392 §6).
const TAG_CWT: u64 = 61;
/// `COSE_Mac0` (RFC 9052 §2).
const TAG_MAC0: u64 = 17;
/// `COSE_Sign1`.
const TAG_SIGN1: u64 = 18;

/// COSE header labels (RFC 9052 §3.1).
const HEADER_ALG: i64 = 1;
const HEADER_CRIT: i64 = 2;
const HEADER_KID: i64 = 4;

/// Which COSE structure carries the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Structure {
    Sign1,
    Mac0,
}

impl Structure {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa | Algorithm::Es256 => Self::Sign1,
            Algorithm::Hs256 => Self::Mac0,
        }
    }

    /// What is signed: `Sig_structure` or `MAC_structure` (RFC 9052 §4.4, §6.3).
    fn message(self, protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut writer = Writer {
            out: Vec::with_capacity(protected.len() + payload.len() + 24),
        };
        writer.array(4);
        writer.text(match self {
            Self::Sign1 => "Signature1",
            Self::Mac0 => "MAC0",
        });
        writer.bytes(protected);
        writer.bytes(&[]);
        writer.bytes(payload);
        writer.out
    }
}

/// A token taken apart, nothing of it verified.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    structure: Structure,
    protected: &'a [u8],
    /// COSE algorithm identifier.
    algorithm: i64,
    pub(crate) kid: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// Decodes a token's text.
pub(crate) fn decode(token: &str) -> Result<Vec<u8>, Reject> {
    if token.len() > MAX_TOKEN_CHARS {
        return Err(Reject::TooLong);
    }
    // Strict: no padding, no other alphabet, no stray bits in the last character.
    URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| Reject::Malformed("not base64url"))
}

impl<'a> Envelope<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let mut tag = || match reader.peek() {
            Ok(Major::Tag) => reader.tag(),
            _ => Err(Reject::NotCwt),
        };
        let structure = match (tag()?, tag()?) {
            (TAG_CWT, TAG_SIGN1) => Structure::Sign1,
            (TAG_CWT, TAG_MAC0) => Structure::Mac0,
            _ => return Err(Reject::NotCwt),
        };
        if reader.array()? != 4 {
            return Err(Reject::Malformed("COSE structure without four parts"));
        }
        let protected = reader.bytes()?;
        let mut inner = Reader::new(protected);
        let (algorithm, kid) = headers(&mut inner, true)?;
        inner.end()?;
        let (_, open_kid) = headers(&mut reader, false)?;
        let payload = reader.bytes()?;
        let signature = reader.bytes()?;
        reader.end()?;
        if kid.is_some() && open_kid.is_some() {
            return Err(Reject::Malformed("two key identifiers"));
        }
        Ok(Self {
            structure,
            protected,
            algorithm: algorithm.ok_or(Reject::Malformed("no protected algorithm"))?,
            kid: kid.or(open_kid).ok_or(Reject::UnknownKey)?,
            payload,
            signature,
        })
    }

    /// Whether the token claims that algorithm and the structure that belongs to it.
    pub(crate) fn is_of(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm.cose() && self.structure == Structure::of(algorithm)
    }

    /// The algorithm that the token claims, where it is one of ours.
    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256]
            .into_iter()
            .find(|a| self.is_of(*a))
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        self.structure.message(self.protected, self.payload)
    }
}

/// Reads a header map: algorithm, taken from protected headers only, and key identifier.
fn headers<'a>(
    reader: &mut Reader<'a>,
    protected: bool,
) -> Result<(Option<i64>, Option<&'a str>), Reject> {
    let (mut algorithm, mut kid) = (None, None);
    let mut seen = Vec::new();
    for _ in 0..reader.map()? {
        let label = match reader.peek()? {
            Major::Uint | Major::Negative => reader.int()?,
            _ => {
                reader.skip()?;
                reader.skip()?;
                continue;
            }
        };
        if seen.contains(&label) {
            return Err(Reject::Malformed("duplicate header"));
        }
        seen.push(label);
        match label {
            HEADER_ALG if protected => algorithm = Some(reader.int()?),
            HEADER_ALG => return Err(Reject::Malformed("unprotected algorithm")),
            HEADER_CRIT => return Err(Reject::Malformed("critical headers")),
            HEADER_KID => {
                let bytes = reader.bytes()?;
                let sound = bytes.len() <= MAX_KID_BYTES;
                kid = Some(
                    std::str::from_utf8(bytes)
                        .ok()
                        .filter(|_| sound)
                        .ok_or(Reject::UnknownKey)?,
                );
            }
            _ => reader.skip()?,
        }
    }
    Ok((algorithm, kid))
}

/// Signs claims into a token: base64url without padding, algorithm and key identifier protected.
///
/// # Errors
/// [`Error::Claim`] where a verifier would refuse the claims as too large or malformed.
pub fn mint(key: &SigningKey, claims: &Claims) -> Result<String, Error> {
    let payload = claims.write()?;
    // What can't be read back would be refused by every verifier.
    Claims::read(&payload).map_err(|_| Error::Claim("a claim is too large"))?;
    let mut protected = Writer::default();
    protected.map(2);
    protected.int(HEADER_ALG);
    protected.int(key.algorithm().cose());
    protected.int(HEADER_KID);
    protected.bytes(key.kid().as_bytes());
    let structure = Structure::of(key.algorithm());
    let signature = key.sign(&structure.message(&protected.out, &payload))?;
    let mut writer = Writer::default();
    writer.tag(TAG_CWT);
    writer.tag(match structure {
        Structure::Sign1 => TAG_SIGN1,
        Structure::Mac0 => TAG_MAC0,
    });
    writer.array(4);
    writer.bytes(&protected.out);
    writer.map(0);
    writer.bytes(&payload);
    writer.bytes(&signature);
    let token = URL_SAFE_NO_PAD.encode(&writer.out);
    if token.len() > MAX_TOKEN_CHARS {
        Err(Error::Claim("token too long"))
    } else {
        Ok(token)
    }
}
