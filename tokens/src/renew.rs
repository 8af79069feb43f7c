//! Renewal of tokens whose `catr` claim allows it: the same claims with a later expiry.

use crate::{Error, claims::Claims, envelope, key::SigningKey, verify::Verified};

/// Seconds before expiry from which on a renewal is due where the token doesn't say: what other
/// implementations assume.
const DEADLINE_S: u64 = 60;

impl Verified {
    /// Whether the token allows to be renewed and wants it now. Always false for tokens without
    /// expiry.
    pub fn renewal_due(&self, now_unix_s: u64) -> bool {
        let (Some(terms), Some(exp)) = (&self.claims().catr, self.claims().exp) else {
            return false;
        };
        let deadline_s = terms.deadline_s.unwrap_or(DEADLINE_S);
        now_unix_s >= exp.saturating_sub(deadline_s)
    }

    /// The token with a later expiry, `catr`'s length from now on. Identifier and every restriction
    /// stay, so that revoking the one revokes the other. Signed by `key`, or by the token's own key
    /// where that is a shared secret.
    ///
    /// # Errors
    /// [`Error::Claim`] where the token has no `catr` claim, nothing is there to sign with, or the
    /// signing key isn't the issuer's.
    pub fn renewed(&self, key: Option<&SigningKey>, now_unix_s: u64) -> Result<String, Error> {
        let own = self.key().shared_secret();
        let key = own
            .as_ref()
            .or(key)
            .ok_or(Error::Claim("no key to renew with"))?;
        let terms = self.claims().catr.as_ref();
        let add_s = terms.ok_or(Error::Claim("no renewal terms"))?.add_s;
        let claims = Claims {
            exp: Some(now_unix_s.saturating_add(add_s)),
            iat: Some(now_unix_s),
            ..self.claims().clone()
        };
        envelope::mint(key, &claims)
    }
}
