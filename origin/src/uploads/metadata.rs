//! `Upload-Metadata`: what the client says of its file (tus 1.0, creation extension).

/// Longest field.
const MAX_BYTES: usize = 4 << 10;
/// Longest name of a file.
const MAX_NAME_BYTES: usize = 200;
/// Types that sound comes under, besides `audio/`.
const TYPES: [&str; 5] = [
    "application/octet-stream",
    "application/ogg",
    "application/x-flac",
    "video/mp4",
    "video/webm",
];

/// What is taken of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// A name that can be a file's: the title of a file without tags.
    pub(super) name: String,
}

/// Why it is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("`Upload-Metadata` is a list of keys with values in base64, at most 4 KiB")]
    Malformed,
    #[error("`{0}` is no type of a file with sound")]
    Type(String),
}

/// Reads the field: `filename` and `filetype` count, others are passed over.
pub(super) fn parse(field: &str) -> Result<Metadata, Refusal> {
    if field.len() > MAX_BYTES {
        return Err(Refusal::Malformed);
    }
    let mut name = None;
    for pair in field.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = base64(value.trim()).ok_or(Refusal::Malformed)?;
        let text = String::from_utf8_lossy(&value).into_owned();
        match key {
            "filename" | "name" => name = name.or(Some(text)),
            "filetype" | "type" if !text.is_empty() && !is_sound(&text) => {
                return Err(Refusal::Type(text.chars().take(64).collect()));
            }
            _ => {}
        }
    }
    Ok(Metadata {
        name: file_name(&name.unwrap_or_default()),
    })
}

fn is_sound(mime: &str) -> bool {
    let mime = mime.to_ascii_lowercase();
    let essence = mime.split(';').next().unwrap_or_default().trim();
    essence.starts_with("audio/") || TYPES.contains(&essence)
}

/// The last part of what may be a path, without what a path would make of it.
fn file_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    while name.len() > MAX_NAME_BYTES {
        name.remove(0);
    }
    let name = name.trim().trim_start_matches('.');
    match name.is_empty() {
        true => "upload".to_owned(),
        false => name.to_owned(),
    }
}

/// RFC 4648 section 4.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (bits < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(field: &str, name: &str) {
        assert_eq!(parse(field).unwrap().name, name);
    }

    #[test]
    fn names_can_be_no_paths() {
        check("", "upload");
        check(
            "filename c29uZy5mbGFj,filetype YXVkaW8vZmxhYw==",
            "song.flac",
        );
        // ../../etc/passwd
        check("filename Li4vLi4vZXRjL3Bhc3N3ZA==", "passwd");
        // C:\a\.hidden
        check("filename QzpcYVwuaGlkZGVu,is_private", "hidden");
        // two dots
        check("filename Li4=", "upload");
        check(
            &format!("filename {}", "YWFh".repeat(100)),
            &"a".repeat(200),
        );
    }

    #[test]
    fn what_is_no_sound_is_refused() {
        // text/html
        let html = parse("filetype dGV4dC9odG1s");
        assert_eq!(html, Err(Refusal::Type("text/html".into())));
        assert_eq!(parse("filename !!!"), Err(Refusal::Malformed));
        assert_eq!(parse(&"a,".repeat(4096)), Err(Refusal::Malformed));
    }
}
