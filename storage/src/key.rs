//! Object keys.

use std::fmt;

use crate::Error;

/// A key: relative, `/`-separated, without empty, `.` or `..` segments, backslashes or control
/// characters; at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the text breaks a rule above.
    pub fn new(key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        let sound = key.len() <= 1024
            && !key.chars().any(|c| c.is_control() || c == '\\')
            && key.split('/').all(|s| !matches!(s, "" | "." | ".."));
        if sound {
            Ok(Self(key))
        } else {
            Err(Error::BadKey(key))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn keys_stay_below_their_root() {
        for key in [
            "a",
            "a/b",
            "tracks/t0/ff/opus-96.mp4",
            ".hidden",
            "a..b",
            "...",
            "ü/音",
            "a b",
            &"k".repeat(1024),
        ] {
            assert!(Key::new(key).is_ok(), "{key}");
        }
        for key in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "./a",
            "a\\b",
            "a\0b",
            "a\nb",
            &"k".repeat(1025),
        ] {
            assert!(Key::new(key).is_err(), "{key}");
        }
    }
}
