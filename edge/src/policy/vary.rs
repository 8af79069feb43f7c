//! Which of several stored responses a request selects (RFC 9111 §4.1), with normalisation of what
//! can't matter.

use http::{
    HeaderMap,
    header::{
        ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, HeaderName,
        VARY,
    },
};

use super::{directives::split_list, fields};

/// The request fields a response depends on, with the values that selected it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selecting(pub(crate) Vec<(HeaderName, Option<String>)>);

impl Selecting {
    /// What `response` to a request with fields `request` depends on. `Vary: *` is dealt with
    /// where storing is decided.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap) -> Self {
        let mut fields: Vec<(HeaderName, Option<String>)> = response
            .get_all(VARY)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // The upstream never sees these, so its answer is the same for all.
            .filter(|name| !fields::is_override(name))
            .map(|name| {
                let value = normalised(request, &name);
                (name, value)
            })
            .collect();
        fields.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        fields.dedup();
        Self(fields)
    }

    /// Whether a request with fields `request` selects the response with fields `response`.
    pub(crate) fn matches(&self, request: &HeaderMap, response: &HeaderMap) -> bool {
        self.0.iter().all(|(name, stored)| {
            normalised(request, name) == *stored
                || (*name == ACCEPT_LANGUAGE && prefers_language_of(request, response))
        })
    }
}

/// A field's lines as one, without optional whitespace; none where it is absent. Preference lists
/// are lower-cased and put in order of preference.
fn normalised(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    let mut members: Vec<&str> = lines.iter().flat_map(|line| split_list(line)).collect();
    if *name == ACCEPT_ENCODING {
        return Some(encodings(&members));
    }
    let preference = [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE].contains(name);
    if !preference {
        return Some(members.join(","));
    }
    members.sort_by(|a, b| {
        quality(b)
            .cmp(&quality(a))
            .then_with(|| token(a).cmp(&token(b)))
    });
    let members: Vec<String> = members
        .iter()
        .map(|m| format!("{};{}", token(m), quality(m)))
        .collect();
    Some(members.join(","))
}

/// Content codings in order of preference, those of equal weight joined by `=`, the refused ones
/// last, behind `!`: `br=gzip>deflate!identity`. How much more one is liked than another can't
/// matter; what isn't named is refused anyway, but for `identity`, unless `*` takes it (RFC 9110
/// §12.5.3).
fn encodings(members: &[&str]) -> String {
    let any = members.iter().any(|m| token(m) == "*" && quality(m) > 0);
    let mut weighed: Vec<(String, u32)> = Vec::new();
    for member in members {
        let coding = match token(member).as_str() {
            "x-gzip" => "gzip".to_owned(),
            "x-compress" => "compress".to_owned(),
            other => other.to_owned(),
        };
        let open = any || coding == "identity" || coding == "*";
        let known = weighed.iter().any(|(other, _)| *other == coding);
        // Of codings named twice, the first word counts.
        if !known && (quality(member) > 0 || open) {
            weighed.push((coding, quality(member)));
        }
    }
    weighed.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut text = String::new();
    let mut above = None;
    for (coding, weight) in weighed {
        match above {
            _ if weight == 0 => text.push('!'),
            None => {}
            Some(above) if above == weight => text.push('='),
            Some(_) => text.push('>'),
        }
        above = Some(weight);
        text.push_str(&coding);
    }
    text
}

/// Whether the language that a request likes best is the response's.
fn prefers_language_of(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(language) = response.get(CONTENT_LANGUAGE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let lines: Vec<&str> = request
        .get_all(ACCEPT_LANGUAGE)
        .iter()
        .filter_map(|l| l.to_str().ok())
        .collect();
    let members: Vec<&str> = lines.iter().flat_map(|line| split_list(line)).collect();
    let best = members.iter().map(|m| quality(m)).max().unwrap_or(0);
    let mut liked = members.iter().filter(|m| quality(m) == best);
    best > 0
        && liked
            .next()
            .is_some_and(|m| token(m).eq_ignore_ascii_case(language.trim()))
        && liked.next().is_none()
}

/// A member without its weight, lower-cased, without whitespace.
fn token(member: &str) -> String {
    let parts = member.split(';').map(|p| p.trim().to_ascii_lowercase());
    parts
        .filter(|p| !p.starts_with("q="))
        .collect::<Vec<_>>()
        .join(";")
}

/// A member's weight in thousandths (RFC 9110 §12.4.2).
fn quality(member: &str) -> u32 {
    let weight = member.split(';').skip(1).find_map(|p| {
        p.trim()
            .to_ascii_lowercase()
            .strip_prefix("q=")
            .map(str::to_owned)
    });
    let Some(weight) = weight else { return 1000 };
    let thousandths = weight.parse::<f32>().unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let thousandths = thousandths.round() as u32;
    thousandths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;

    use super::Selecting;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (n, v) in fields {
            map.append(*n, v.parse().unwrap());
        }
        map
    }

    #[test]
    fn selection() {
        const AL: &str = "accept-language";
        const AE: &str = "accept-encoding";
        for (vary, stored, asked, selected) in [
            (
                "Foo",
                &[("foo", "1")][..],
                &[("foo", "1"), ("other", "2")][..],
                true,
            ),
            ("Foo", &[("foo", "1")], &[("foo", "2")], false),
            ("Foo", &[("foo", "1")], &[], false),
            ("Foo", &[], &[("foo", "")], false),
            ("Foo, Bar", &[("foo", "1")], &[("foo", "1")], true),
            (
                "Foo",
                &[("foo", "1, 2")],
                &[("foo", "1"), ("foo", "2")],
                true,
            ),
            ("Foo", &[("foo", "1,2")], &[("foo", " 1,  2 ")], true),
            ("Foo", &[("foo", "1,2")], &[("foo", "2,1")], false),
            (AL, &[(AL, "en, de")], &[(AL, "De ,eN")], true),
            (AL, &[(AL, "en, fr;q=0.5")], &[(AL, "fr, en;q=0.5")], false),
            (AL, &[(AL, "en, de")], &[(AL, "fr;q=0.5, de;q=1.0")], true),
            (AE, &[(AE, "gzip, br")], &[(AE, "br,gzip;q=1")], true),
            (
                AE,
                &[(AE, "gzip;q=0.5, br")],
                &[(AE, "BR;Q=0.9 , x-gzip;q=0.1")],
                true,
            ),
            (
                AE,
                &[(AE, "gzip, br;q=0.5")],
                &[(AE, "br, gzip;q=0.5")],
                false,
            ),
            (AE, &[(AE, "gzip, br;q=0")], &[(AE, "gzip")], true),
            (AE, &[(AE, "gzip, identity;q=0")], &[(AE, "gzip")], false),
            (AE, &[(AE, "gzip, *;q=0")], &[(AE, "gzip")], false),
            (AE, &[(AE, "*, gzip;q=0")], &[(AE, "*")], false),
            (AE, &[(AE, "")], &[], false),
            ("", &[("foo", "1")], &[], true),
        ] {
            let response = headers(&[("vary", vary), ("content-language", "de")]);
            let selecting = Selecting::of(&headers(stored), &response);
            assert_eq!(
                selecting.matches(&headers(asked), &response),
                selected,
                "{vary} {stored:?} {asked:?}"
            );
        }
    }
}
