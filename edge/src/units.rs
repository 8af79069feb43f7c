//! Sizes and durations as people write them: `256MiB`, `30s`.
//!
//! Only the forms that configuration files use; arithmetic is checked.

use std::{fmt, time::Duration};

/// Suffixes of sizes and what they multiply by, longest first.
const SIZES: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("B", 1),
];

/// Suffixes of durations in milliseconds, longest first.
const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a size in bytes: `65536`, `64KiB`, `1.5GiB`, `10GB`.
///
/// # Errors
/// A sentence for the operator where the text is no size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES)
        .ok_or_else(|| format!("`{text}` is not a size; write for example 64KiB, 256MiB or 10GiB"))
}

/// Reads a duration: `500ms`, `30s`, `1.5m`, `12h`, `2d`. A bare number is refused, its unit being
/// anyone's guess.
///
/// # Errors
/// A sentence for the operator where the text is no duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.trim().ends_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{text}` needs a unit: ms, s, m, h or d"));
    }
    scaled(text, &DURATIONS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is not a duration; write for example 500ms, 30s or 5m"))
}

/// A number and one of the suffixes, multiplied out; decimals are rounded down.
fn scaled(text: &str, suffixes: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = suffixes
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1));
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let scale = 10_u64.pow(fraction.len() as u32);
    let fraction = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u64>().ok()?.checked_mul(factor)? / scale
    };
    whole.checked_add(fraction)
}

/// A size as it is written: with its largest whole unit.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = |shift: &u32| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match units.iter().find(|(shift, _)| whole(shift)) {
            Some((shift, name)) => write!(f, "{}{name}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Serde for sizes: a number of bytes or text with a unit.
pub mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Text or number, as file formats have both.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Bytes(u64),
        Text(String),
    }

    /// Reads a size.
    ///
    /// # Errors
    /// Where the value is no size.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        match Form::deserialize(from)? {
            Form::Bytes(bytes) => Ok(bytes),
            Form::Text(text) => super::parse_size(&text).map_err(D::Error::custom),
        }
    }

    /// Writes the size with its largest whole unit: `256MiB`.
    ///
    /// # Errors
    /// Where the format fails.
    pub fn serialize<S: Serializer>(size: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&super::Size(*size))
    }
}

/// Serde for durations: text with a unit.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Reads a duration.
    ///
    /// # Errors
    /// Where the value is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        super::parse_duration(&text).map_err(D::Error::custom)
    }

    /// Writes the duration with its largest whole unit: `30s`.
    ///
    /// # Errors
    /// Where the format fails.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        let ms = duration.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units
            .iter()
            .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit))
        {
            Some((unit, name)) => to.collect_str(&format_args!("{}{name}", ms / unit)),
            None if ms == 0 => to.serialize_str("0s"),
            None => to.collect_str(&format_args!("{ms}ms")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_size(text).ok(), expected, "{text}")
        };
        check("65536", Some(65536));
        check("64KiB", Some(65536));
        check("1.5GiB", Some(3 << 29));
        check(" 10 GB ", Some(10_000_000_000));
        check("512M", Some(512 << 20));
        check("", None);
        check("MiB", None);
        check("-1MiB", None);
        check("99999999999TiB", None);
        check("1.2.3MiB", None);
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(
                parse_duration(text).ok(),
                expected.map(Duration::from_millis),
                "{text}"
            );
        };
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("1.5m", Some(90_000));
        check("2d", Some(172_800_000));
        check("30", None);
        check("s", None);
        check("30 parsecs", None);
    }
}
