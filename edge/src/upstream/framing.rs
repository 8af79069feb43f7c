//! Framing of an HTTP/1.1 response: what two parsers could frame differently is no answer
//! (RFC 9112 §6.3). Its connection isn't used again either, since nobody knows where it stands.

use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Checks a response's head for one reading of where its body ends.
///
/// # Errors
/// What is ambiguous, for the log.
pub(super) fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), &'static str> {
    // We never ask for one.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("an upgrade that was not asked for");
    }
    let length = only(headers, &header::CONTENT_LENGTH).map_err(|()| "several content-length")?;
    let coding =
        only(headers, &header::TRANSFER_ENCODING).map_err(|()| "several transfer-encoding")?;
    match (length, coding) {
        (Some(_), Some(_)) => Err("content-length beside transfer-encoding"),
        (Some(length), None) => {
            let digits = length.as_bytes();
            let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            sound.then_some(()).ok_or("content-length is no number")
        }
        (None, Some(coding)) => {
            // What nobody can take for chunked, nor for nothing, ends with the connection (RFC 9112
            // §6.3, item 4).
            let coding = coding.as_bytes().to_ascii_lowercase();
            let has = |word: &[u8]| coding.windows(word.len()).any(|part| part == word);
            let sound = coding == b"chunked" || !(has(b"chunk") || has(b"identity"));
            sound
                .then_some(())
                .ok_or("transfer-encoding not quite chunked")
        }
        (None, None) => Ok(()),
    }
}

/// The one line of a field.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a HeaderValue>, ()> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        (_, Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use http::{HeaderMap, HeaderValue, StatusCode};

    #[test]
    fn one_reading_only() {
        let of = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            check(StatusCode::OK, &headers).is_ok()
        };
        let (length, coding) = ("content-length", "transfer-encoding");
        assert!(of(&[]) && of(&[(length, "0")]) && of(&[(coding, "Chunked")]));
        for bad in [
            &[(length, "3"), (length, "3")][..],
            &[(length, "3, 3")],
            &[(length, "+3")],
            &[(length, "")],
            &[(length, "3"), (coding, "chunked")],
            &[(coding, "chunked"), (coding, "chunked")],
            &[(coding, "gzip, chunked")],
            &[(coding, "identity")],
        ] {
            assert!(!of(bad), "{bad:?}");
        }
        assert!(check(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new()).is_err());
    }
}
