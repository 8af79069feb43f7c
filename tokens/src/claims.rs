//! What a token says: its claims, read from and written to CBOR.

use std::time::Duration;

use crate::{
    Error,
    catgeo::{self, Country},
    catnip::{self, Network},
    catr::{self, Renewal},
    catu::{self, Component, Match, Matchers, Rule},
    cbor::{Major, Reader, Writer},
    limits::{MAX_CBOR_ITEMS, MAX_STRING_BYTES},
    reject::Reject,
};

/// Labels of claims (RFC 8392 §4, CTA-5007).
mod label {
    pub(super) const ISS: i64 = 1;
    pub(super) const SUB: i64 = 2;
    pub(super) const AUD: i64 = 3;
    pub(super) const EXP: i64 = 4;
    pub(super) const NBF: i64 = 5;
    pub(super) const IAT: i64 = 6;
    pub(super) const CTI: i64 = 7;
    pub(super) const CATREPLAY: i64 = 308;
    pub(super) const CATV: i64 = 310;
    pub(super) const CATNIP: i64 = 311;
    pub(super) const CATU: i64 = 312;
    pub(super) const CATM: i64 = 313;
    pub(super) const CATGEOISO3166: i64 = 316;
    pub(super) const CATIFDATA: i64 = 320;
    pub(super) const CATIF: i64 = 322;
    pub(super) const CATR: i64 = 323;
}

/// The claims of a token. Absent claims are `None` or empty; times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Issuer.
    pub iss: Option<String>,
    /// Subject: who listens.
    pub sub: Option<String>,
    /// Audiences, any of which must be the verifier's.
    pub aud: Vec<String>,
    /// First second at which the token is refused.
    pub exp: Option<u64>,
    /// First second at which the token is accepted.
    pub nbf: Option<u64>,
    /// When it was issued.
    pub iat: Option<u64>,
    /// The token's own identifier.
    pub cti: Option<Vec<u8>>,
    /// Version; 1 is the only one, and what is meant without it.
    pub catv: Option<u64>,
    /// Rules on the URI, all of which must hold.
    pub catu: Vec<Rule>,
    /// Methods, one of which must be used. `None` allows all, an empty list none.
    pub catm: Option<Vec<String>>,
    /// Client networks, one of which must be used. `None` allows all, an empty list none.
    pub catnip: Option<Vec<Network>>,
    /// Countries of the client, one of which must be its own. `None` allows all, an empty list none.
    pub catgeoiso3166: Option<Vec<Country>>,
    /// Renewal terms.
    pub catr: Option<Renewal>,
}

/// What a listening token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every manifest, playlist and rendition: all below `/v1/` and `/media/`.
    All,
    /// One track: all below `/v1/tracks/{id}/` and `/media/{id}/`.
    Track(String),
}

impl Claims {
    /// Claims of a listener: `sub` may listen to everything for `ttl` from now on.
    pub fn listening(sub: impl Into<String>, now_unix_s: u64, ttl: Duration) -> Self {
        let claims = Self {
            sub: Some(sub.into()),
            exp: Some(now_unix_s.saturating_add(ttl.as_secs())),
            iat: Some(now_unix_s),
            ..Self::default()
        };
        claims.scope(Scope::All)
    }

    /// Replaces the rules on the path by those of a scope.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        let pattern = match scope {
            Scope::All => "^/(v1|media)/".to_owned(),
            Scope::Track(id) => format!("^/(v1/tracks|media)/{}/", regex::escape(&id)),
        };
        self.catu.retain(|rule| rule.component != Component::Path);
        self.catu.push(Rule::path(Match::Regex(pattern)));
        self
    }

    /// Sets the issuer.
    #[must_use]
    pub fn issuer(mut self, iss: impl Into<String>) -> Self {
        self.iss = Some(iss.into());
        self
    }

    /// Adds an audience.
    #[must_use]
    pub fn audience(mut self, aud: impl Into<String>) -> Self {
        self.aud.push(aud.into());
        self
    }

    /// Sets the first second at which the token is accepted.
    #[must_use]
    pub fn not_before(mut self, nbf: u64) -> Self {
        self.nbf = Some(nbf);
        self
    }

    /// Sets the token's identifier.
    #[must_use]
    pub fn id(mut self, cti: impl Into<Vec<u8>>) -> Self {
        self.cti = Some(cti.into());
        self
    }

    /// Adds a rule on the URI.
    #[must_use]
    pub fn rule(mut self, component: Component, matches: Match) -> Self {
        self.catu.push(Rule { component, matches });
        self
    }

    /// Adds a permitted method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.catm.get_or_insert_default().push(method.into());
        self
    }

    /// Adds a permitted client network.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.catnip.get_or_insert_default().push(network);
        self
    }

    /// Adds a permitted country.
    #[must_use]
    pub fn country(mut self, country: Country) -> Self {
        self.catgeoiso3166.get_or_insert_default().push(country);
        self
    }

    /// Sets the renewal terms.
    #[must_use]
    pub fn renewal(mut self, renewal: Renewal) -> Self {
        self.catr = Some(renewal);
        self
    }

    /// Reads claims, all of them or none.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let mut claims = Self::default();
        let mut seen = Vec::new();
        for _ in 0..reader.map()? {
            if reader.peek()? == Major::Text {
                return Err(Reject::Malformed("claim without a numeric label"));
            }
            let label = reader.int()?;
            if seen.contains(&label) {
                return Err(Reject::Malformed("duplicate claim"));
            }
            seen.push(label);
            claims.read_claim(label, &mut reader)?;
        }
        reader.end()?;
        Ok(claims)
    }

    fn read_claim(&mut self, label: i64, reader: &mut Reader<'_>) -> Result<(), Reject> {
        match label {
            label::ISS => self.iss = Some(reader.text()?.into()),
            label::SUB => self.sub = Some(reader.text()?.into()),
            label::AUD => {
                self.aud = read_texts(reader)?;
                // Keeps "for nobody" apart from "for anybody", which an absent claim means.
                if self.aud.is_empty() {
                    return Err(Reject::Audience);
                }
            }
            // Fractions are cut so that the token is valid for less, never for more.
            label::EXP => self.exp = Some(reader.instant()?.floor().max(0.0) as u64),
            label::NBF => self.nbf = Some(reader.instant()?.ceil().max(0.0) as u64),
            label::IAT => self.iat = Some(reader.instant()?.floor().max(0.0) as u64),
            label::CTI => self.cti = Some(reader.bytes()?.into()),
            label::CATV => match reader.uint()? {
                1 => self.catv = Some(1),
                _ => return Err(Reject::Version),
            },
            label::CATNIP => self.catnip = Some(catnip::read(reader)?),
            label::CATU => self.catu = catu::read(reader)?,
            label::CATM => self.catm = Some(read_texts(reader)?),
            label::CATGEOISO3166 => self.catgeoiso3166 = Some(catgeo::read(reader)?),
            label::CATR => self.catr = Some(catr::read(reader)?),
            // Replay is permitted: nothing to check.
            label::CATREPLAY if reader.uint()? == 0 => {}
            // What to answer after a refusal: widens nothing, restricts nothing.
            label::CATIF | label::CATIFDATA => reader.skip()?,
            other => return Err(Reject::UnsupportedClaim(other)),
        }
        Ok(())
    }

    /// Writes claims in ascending order of label.
    pub(crate) fn write(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let mut count = 0;
        let mut writer = Writer::default();
        let mut head = |writer: &mut Writer, label: i64| {
            count += 1;
            writer.int(label);
        };
        for (label, text) in [(label::ISS, &self.iss), (label::SUB, &self.sub)] {
            if let Some(text) = text {
                head(&mut writer, label);
                writer.text(text);
            }
        }
        if !self.aud.is_empty() {
            head(&mut writer, label::AUD);
            match self.aud.as_slice() {
                [one] => writer.text(one),
                many => write_texts(many, &mut writer),
            }
        }
        for (label, instant) in [
            (label::EXP, self.exp),
            (label::NBF, self.nbf),
            (label::IAT, self.iat),
        ] {
            if let Some(instant) = instant {
                head(&mut writer, label);
                writer.uint(instant);
            }
        }
        if let Some(cti) = &self.cti {
            head(&mut writer, label::CTI);
            writer.bytes(cti);
        }
        head(&mut writer, label::CATV);
        writer.uint(1);
        if let Some(networks) = &self.catnip {
            head(&mut writer, label::CATNIP);
            catnip::write(networks, &mut writer);
        }
        if !self.catu.is_empty() {
            head(&mut writer, label::CATU);
            catu::write(&self.catu, &mut writer);
        }
        if let Some(methods) = &self.catm {
            head(&mut writer, label::CATM);
            write_texts(methods, &mut writer);
        }
        if let Some(countries) = &self.catgeoiso3166 {
            head(&mut writer, label::CATGEOISO3166);
            catgeo::write(countries, &mut writer);
        }
        if let Some(renewal) = &self.catr {
            head(&mut writer, label::CATR);
            catr::write(renewal, &mut writer);
        }
        let mut map = Writer::default();
        map.map(count);
        map.out.extend(writer.out);
        Ok(map.out)
    }

    /// Refuses what the reading side would.
    fn check(&self) -> Result<(), Error> {
        let texts = self
            .iss
            .iter()
            .chain(&self.sub)
            .chain(&self.aud)
            .chain(self.catm.iter().flatten());
        if texts.into_iter().any(|text| text.len() > MAX_STRING_BYTES) {
            return Err(Error::Claim("text too long"));
        }
        let lists = [
            self.aud.len(),
            self.catm.iter().flatten().count(),
            self.catnip.iter().flatten().count(),
            self.catgeoiso3166.iter().flatten().count(),
        ];
        if lists.into_iter().any(|len| len > MAX_CBOR_ITEMS) {
            return Err(Error::Claim("list too long"));
        }
        if self.catv.is_some_and(|version| version != 1) {
            return Err(Error::Claim("version other than 1"));
        }
        let instants = [self.exp, self.nbf, self.iat];
        if instants
            .into_iter()
            .flatten()
            .any(|instant| i64::try_from(instant).is_err())
        {
            return Err(Error::Claim("time out of range"));
        }
        let mut seen = Vec::new();
        for rule in &self.catu {
            let kind = (rule.component, std::mem::discriminant(&rule.matches));
            if seen.contains(&kind) {
                return Err(Error::Claim(
                    "two rules of one match type for one URI component",
                ));
            }
            seen.push(kind);
        }
        Matchers::compile(&self.catu)
            .map(drop)
            .map_err(|_| Error::Claim("URI rule invalid or too large"))
    }
}

/// One text or an array of them.
fn read_texts(reader: &mut Reader<'_>) -> Result<Vec<String>, Reject> {
    let count = if reader.peek()? == Major::Array {
        reader.array()?
    } else {
        1
    };
    (0..count)
        .map(|_| reader.text().map(str::to_owned))
        .collect()
}

fn write_texts(texts: &[String], writer: &mut Writer) {
    writer.array(texts.len());
    texts.iter().for_each(|text| writer.text(text));
}
