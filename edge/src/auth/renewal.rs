//! A renewed token on its way to the client: as a cookie or in a header (CTA-5007 `catr`).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, SET_COOKIE},
};
use tokens::{Renewal, RenewalKind, SigningKey, Verified};

use super::carried::{TOKEN_COOKIE, TOKEN_HEADER, Way};

/// Cookie attributes where the token names none: sent wherever the old one was, by HTTPS only, and
/// out of reach of scripts.
const COOKIE_PARAMS: &str = "Path=/; Secure; HttpOnly; SameSite=None";

/// A field to be added to the response.
pub(crate) struct Renewed {
    name: HeaderName,
    value: HeaderValue,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

impl Renewed {
    /// Adds the field. The response is then this client's alone: a cache on the way that kept it
    /// would hand the token to others.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        if self.name != SET_COOKIE {
            // Players in browsers see only what is exposed to them (Fetch standard §3.3.7).
            headers.append(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from(self.name.clone()),
            );
        }
        headers.append(self.name, self.value);
        for shared in ["cdn-cache-control", "surrogate-control", "expires"] {
            headers.remove(shared);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}

/// Renews a token that is due. None where it asks for a way that doesn't exist here (a redirect,
/// which a range request can't follow), or where there is no key to sign with.
pub(super) fn renew(
    verified: &Verified,
    way: Way,
    key: Option<&SigningKey>,
    now_unix_s: u64,
) -> Option<Renewed> {
    let terms = verified.claims().catr.as_ref()?;
    let into_cookie = match terms.kind {
        RenewalKind::Cookie => true,
        RenewalKind::Header => false,
        RenewalKind::Automatic => way == Way::Cookie,
        RenewalKind::Redirect => return None,
    };
    let token = match verified.renewed(key, now_unix_s) {
        Ok(token) => token,
        Err(error) => {
            tracing::debug!(%error, kid = verified.kid(), "token not renewed");
            return None;
        }
    };
    if into_cookie {
        cookie(terms, &token)
    } else {
        header(terms, &token)
    }
}

fn cookie(terms: &Renewal, token: &str) -> Option<Renewed> {
    let name = terms.cookie_name.as_deref().unwrap_or(TOKEN_COOKIE);
    let params = if terms.cookie_params.is_empty() {
        COOKIE_PARAMS.to_owned()
    } else {
        terms.cookie_params.join("; ")
    };
    let mut value = HeaderValue::try_from(format!("{name}={token}; {params}")).ok()?;
    value.set_sensitive(true);
    Some(Renewed {
        name: SET_COOKIE,
        value,
    })
}

fn header(terms: &Renewal, token: &str) -> Option<Renewed> {
    let name = match &terms.header_name {
        Some(name) => HeaderName::try_from(name.as_str()).ok()?,
        None => TOKEN_HEADER.clone(),
    };
    let params: String = terms
        .header_params
        .iter()
        .map(|p| format!("; {p}"))
        .collect();
    let mut value = HeaderValue::try_from(format!("{token}{params}")).ok()?;
    value.set_sensitive(true);
    Some(Renewed { name, value })
}
