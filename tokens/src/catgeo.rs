//! The `catgeoiso3166` claim: countries from which a token may be used.

use std::{fmt, str::FromStr};

use crate::{
    cbor::{Major, Reader, Writer},
    reject::Reject,
};

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// The code, upper case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Reads `SE` or `se`.
impl FromStr for Country {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err("expected a country of two letters (ISO 3166-1 alpha-2)"),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the claim's value: one text or an array of them. A subdivision (`US-CA`) admits nobody,
/// since the verifier knows countries only.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<Country>, Reject> {
    let count = if reader.peek()? == Major::Array {
        reader.array()?
    } else {
        1
    };
    let mut countries = Vec::new();
    for _ in 0..count {
        countries.extend(Country::from_str(reader.text()?).ok());
    }
    Ok(countries)
}

/// Writes the claim's value.
pub(crate) fn write(countries: &[Country], writer: &mut Writer) {
    writer.array(countries.len());
    countries
        .iter()
        .for_each(|country| writer.text(country.as_str()));
}
