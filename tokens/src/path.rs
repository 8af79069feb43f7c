//! Which request paths are unambiguous enough to be judged by a token.
//!
//! Refuses rather than normalises: the path that a token was checked against is byte by byte the
//! one that is used as cache key and fetched.

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// Does not start with `/`.
    #[error("not absolute")]
    NotAbsolute,
    /// `//` within the path.
    #[error("empty segment")]
    EmptySegment,
    /// A segment `.` or `..`, also with parameters (`..;x`).
    #[error("dot segment")]
    DotSegment,
    /// `\`, plain or encoded.
    #[error("backslash")]
    Backslash,
    /// `%2F`.
    #[error("encoded separator")]
    EncodedSeparator,
    /// `%2E`.
    #[error("encoded dot")]
    EncodedDot,
    /// `%25`: decoding twice would give another path.
    #[error("double encoding")]
    DoubleEncoding,
    /// An encoded letter, digit, `-`, `_` or `~`, which needs no encoding (RFC 3986 §2.3).
    #[error("needless encoding")]
    NeedlessEncoding,
    /// `%` without two hexadecimal digits.
    #[error("broken encoding")]
    BrokenEncoding,
    /// A byte outside printable ASCII, an encoded control character, `?` or `#`.
    #[error("character that no path may hold")]
    BadCharacter,
}

/// Checks that a path, as sent and without query, means the same to every parser: absolute,
/// printable ASCII, no empty or dot segments, no backslashes, no encoded separators, dots,
/// per cent signs or unreserved characters.
///
/// # Errors
/// The first fault found.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathFault::NotAbsolute);
    }
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'%' => {
                encoded(bytes.get(i + 1..i + 3))?;
                i += 2;
            }
            b'/' => segment(&bytes[i + 1..])?,
            b'\\' => return Err(PathFault::Backslash),
            b'?' | b'#' => return Err(PathFault::BadCharacter),
            0x21..=0x7e => {}
            _ => return Err(PathFault::BadCharacter),
        }
        i += 1;
    }
    Ok(())
}

/// Looks at what follows a `/`.
fn segment(rest: &[u8]) -> Result<(), PathFault> {
    let dots = rest.iter().take_while(|b| **b == b'.').count();
    match rest.get(dots) {
        Some(b'/') if dots == 0 => Err(PathFault::EmptySegment),
        None | Some(b'/' | b';') if dots == 1 || dots == 2 => Err(PathFault::DotSegment),
        _ => Ok(()),
    }
}

/// Looks at the two digits after `%`.
fn encoded(digits: Option<&[u8]>) -> Result<(), PathFault> {
    let Some([high, low]) = digits else {
        return Err(PathFault::BrokenEncoding);
    };
    let digit = |b: u8| char::from(b).to_digit(16);
    let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
        return Err(PathFault::BrokenEncoding);
    };
    match (high * 16 + low) as u8 {
        b'/' => Err(PathFault::EncodedSeparator),
        b'.' => Err(PathFault::EncodedDot),
        b'\\' => Err(PathFault::Backslash),
        b'%' => Err(PathFault::DoubleEncoding),
        b'-' | b'_' | b'~' => Err(PathFault::NeedlessEncoding),
        b if b.is_ascii_alphanumeric() => Err(PathFault::NeedlessEncoding),
        0..=0x1f | 0x7f => Err(PathFault::BadCharacter),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{PathFault::*, check_path};

    #[test]
    fn plain_paths_pass() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a.b/c..d/...",
            "/.well-known/x",
            "/a%20b",
            "/caf%C3%A9",
            "/a;b=c/d",
            "/~x",
        ] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for (path, fault) in [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            ("//", EmptySegment),
            ("/a//b", EmptySegment),
            ("/.", DotSegment),
            ("/a/..", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/..;x/b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%2fb", EncodedSeparator),
            ("/a%2Fb", EncodedSeparator),
            ("/%2e%2e/b", EncodedDot),
            ("/.%2E/b", EncodedDot),
            ("/%252e", DoubleEncoding),
            ("/medi%61/x", NeedlessEncoding),
            ("/%7Ex", NeedlessEncoding),
            ("/%", BrokenEncoding),
            ("/%2", BrokenEncoding),
            ("/%zz", BrokenEncoding),
            ("/%+1", BrokenEncoding),
            ("/%00", BadCharacter),
            ("/a b", BadCharacter),
            ("/é", BadCharacter),
            ("/a?b", BadCharacter),
            ("/a#b", BadCharacter),
        ] {
            assert_eq!(check_path(path), Err(fault), "{path}");
        }
    }
}
