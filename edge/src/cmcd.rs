//! Common Media Client Data (CTA-5004 v1, and v2's request mode): what a player says of its
//! playback with each request, in the query argument `CMCD` or in four header fields.
//!
//! It is taken out of the request before anything else looks: it is in no cache key and reaches no
//! upstream. Parsing is pure, allocates nothing, and skips what it doesn't understand.

mod next;

use std::io::Write as _;

use http::uri::PathAndQuery;

pub(crate) use self::next::Next;
use crate::{exchange::Request, log::write_text};

/// Longest text that is kept of one request; what is behind it is not looked at.
const TEXT_MAX: usize = 4096;

/// Pairs looked at in one request.
const PAIRS_MAX: usize = 64;

/// Longest string in a record, in bytes.
const STRING_MAX: usize = 256;

/// Items of a list in a record.
const LIST_MAX: usize = 8;

/// The query argument's name.
const ARGUMENT: &str = "CMCD";

/// What the names of the header fields begin with: `CMCD-Request`, `-Object`, `-Status`, `-Session`.
const FIELDS: &str = "cmcd-";

/// Keys that reach a record: those of version 1 and of version 2's request mode. A player's own keys
/// don't, since their names could be anything.
const KEYS: [&str; 46] = [
    "ab", "bg", "bl", "br", "bs", "bsa", "bsd", "bsda", "cdn", "cid", "cmsdd", "cmsds", "cs", "d",
    "df", "dfa", "dl", "ec", "lab", "lb", "ltc", "msd", "mtp", "nor", "nr", "nrr", "ot", "pb",
    "pr", "pt", "rtp", "sf", "sid", "sn", "st", "sta", "su", "tab", "tb", "tbl", "tpb", "ts",
    "ttfb", "ttlb", "url", "v",
];

/// A value (RFC 8941 §3.1.1, §3.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number without a fraction.
    Integer(i64),
    /// A number with a fraction of at most three digits, as text.
    Decimal(&'a str),
    /// A key alone is true.
    Boolean(bool),
    /// A word without quotes.
    Token(&'a str),
    /// What is between the quotes, escapes included.
    String(&'a str),
    /// What is between the parentheses: version 2's lists, one item for each kind of media.
    List(&'a str),
}

/// What a player said, decoded from its transport.
#[derive(Clone, PartialEq, Eq)]
pub struct Cmcd(Box<str>);

impl std::fmt::Debug for Cmcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(parse(&self.0)).finish()
    }
}

/// Reads pairs one after another; what is no pair is skipped up to the next comma.
pub fn parse(text: &str) -> impl Iterator<Item = (&str, Value<'_>)> {
    let mut rest = text;
    let pairs = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (pair, after) = cut(rest);
        rest = after;
        Some(pair.trim_matches([' ', '\t']))
    });
    pairs.take(PAIRS_MAX).filter_map(pair)
}

/// The text before the next comma that is outside of quotes and parentheses, and what is behind it.
fn cut(text: &str) -> (&str, &str) {
    let (mut quoted, mut escaped, mut listed) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' if !quoted => listed = true,
            b')' if !quoted => listed = false,
            b',' if !quoted && !listed => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// One pair.
fn pair(text: &str) -> Option<(&str, Value<'_>)> {
    let (key, text) = match text.split_once('=') {
        Some((key, text)) => (key, Some(text)),
        // Parameters of a key alone say nothing of it.
        None => (text.split(';').next()?, None),
    };
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
    let sound = key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
    if !sound || key.len() > 64 || !key.bytes().all(letter) {
        return None;
    }
    Some((key, text.map_or(Some(Value::Boolean(true)), value)?))
}

/// One value; parameters behind it are dropped.
fn value(text: &str) -> Option<Value<'_>> {
    match text.as_bytes().first()? {
        b'"' => {
            let end = closing_quote(text)?;
            Some(Value::String(&text[1..end]))
        }
        b'(' => Some(Value::List(text[1..].split_once(')')?.0)),
        b'?' => match text.split(';').next()? {
            "?0" => Some(Value::Boolean(false)),
            "?1" => Some(Value::Boolean(true)),
            _ => None,
        },
        b'-' | b'0'..=b'9' => number(text.split(';').next()?),
        // Version 1's booleans, as some players write them.
        b't' if text == "true" => Some(Value::Boolean(true)),
        b'f' if text == "false" => Some(Value::Boolean(false)),
        b'A'..=b'Z' | b'a'..=b'z' | b'*' => {
            let token = text.split(';').next()?;
            let letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
            token.bytes().all(letter).then_some(Value::Token(token))
        }
        _ => None,
    }
}

/// Where the string that begins with a quote ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().enumerate().skip(1).find_map(|(at, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes.then_some(at)
    })
}

fn number(text: &str) -> Option<Value<'_>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all = |s: &str, max| (1..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    match digits.split_once('.') {
        None => all(digits, 15).then_some(Value::Integer(text.parse().ok()?)),
        // A leading zero would make it no number in JSON.
        Some((whole, fraction))
            if all(whole, 12) && all(fraction, 3) && (whole == "0" || !whole.starts_with('0')) =>
        {
            Some(Value::Decimal(text))
        }
        Some(_) => None,
    }
}

impl Cmcd {
    /// Takes what a player said out of a request. None where it said nothing.
    pub(crate) fn take(request: &mut Request) -> Option<Self> {
        let mut text = String::new();
        if let Some(query) = request.target.query()
            && query.contains(ARGUMENT)
        {
            let of_cmcd = |pair: &&str| pair.split('=').next() == Some(ARGUMENT);
            for pair in query.split('&').filter(of_cmcd) {
                let encoded = pair.split_once('=').map_or("", |(_, value)| value);
                append(&mut text, &decoded(encoded));
            }
            let rest: Vec<&str> = query.split('&').filter(|pair| !of_cmcd(pair)).collect();
            let path = request.target.path();
            let target = match rest.is_empty() {
                true => path.to_owned(),
                false => format!("{path}?{}", rest.join("&")),
            };
            request.target = PathAndQuery::try_from(target).ok()?;
        }
        let said = |name: &&http::HeaderName| name.as_str().starts_with(FIELDS);
        while let Some(name) = request.headers.keys().find(said).cloned() {
            for value in request.headers.get_all(&name) {
                append(&mut text, value.to_str().unwrap_or_default());
            }
            request.headers.remove(&name);
        }
        Self::of_text(&text)
    }

    /// Pairs as they stand in a header field.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        (end > 0).then(|| Self(text[..end].into()))
    }

    /// The value of a key; of several the first, as in records.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        parse(&self.0).find_map(|(name, value)| (name == key).then_some(value))
    }

    /// A JSON object of the keys that CTA-5004 defines.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut seen = 0_u64;
        for (key, value) in parse(&self.0) {
            let Ok(n) = KEYS.binary_search(&key) else {
                continue;
            };
            if seen & (1 << n) != 0 {
                continue;
            }
            if seen != 0 {
                out.push(b',');
            }
            seen |= 1 << n;
            let _ = write!(out, "\"{key}\":");
            write_value(out, value);
        }
        out.push(b'}');
    }
}

/// Adds another part of what was said.
fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(more);
}

/// Percent-decoded.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() && out.len() < TEXT_MAX {
        let hex = |n: usize| bytes.get(at + n).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(0));
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    let _ = match value {
        Value::Integer(n) => write!(out, "{n}"),
        Value::Decimal(text) => write!(out, "{text}"),
        Value::Boolean(is) => write!(out, "{is}"),
        Value::Token(text) => {
            write_text(out, text, STRING_MAX);
            Ok(())
        }
        Value::String(text) => {
            write_string(out, text);
            Ok(())
        }
        Value::List(text) => {
            out.push(b'[');
            let items = text.split(' ').filter_map(value_of_item);
            for (n, item) in items.take(LIST_MAX).enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
            Ok(())
        }
    };
}

/// An item of a list; lists don't nest.
fn value_of_item(text: &str) -> Option<Value<'_>> {
    value(text).filter(|value| !matches!(value, Value::List(_)))
}

/// A string with its escapes taken off (RFC 8941 §3.3.3: backslash before quote and backslash).
fn write_string(out: &mut Vec<u8>, text: &str) {
    if !text.contains('\\') {
        return write_text(out, text, STRING_MAX);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    write_text(out, &plain, STRING_MAX);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> serde_json::Value {
        let mut out = Vec::new();
        if let Some(cmcd) = Cmcd::of_text(text) {
            cmcd.write_json(&mut out);
        }
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn version_1() {
        let said = r#"bl=21300,br=3200,bs,cid="faec5fc2-ac30-11ea",d=4004,dl=18500,mtp=48100,nor="..%2F300kbps%2Ftrack.m4v",nrr="12323-48763",ot=v,pr=1.08,rtp=12000,sf=d,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",st=v,su,tb=6000,v=1"#;
        let expected = serde_json::json!({
            "bl": 21300, "br": 3200, "bs": true, "cid": "faec5fc2-ac30-11ea", "d": 4004,
            "dl": 18500, "mtp": 48100, "nor": "..%2F300kbps%2Ftrack.m4v", "nrr": "12323-48763",
            "ot": "v", "pr": 1.08, "rtp": 12000, "sf": "d",
            "sid": "6e2fb550-c457-11e9-bb97-0800200c9a66", "st": "v", "su": true, "tb": 6000, "v": 1,
        });
        assert_eq!(json(said), expected);
    }

    #[test]
    fn version_2() {
        let expected = serde_json::json!({
            "br": [128, 5000], "sn": 7, "sta": "p", "bg": false, "ltc": 2100, "nor": ["a,b", "c"],
            "v": 2,
        });
        let said = r#"br=(128;a 5000;v),sn=7,sta=p,bg=?0,ltc=2100;x,nor=("a,b" "c";r="0-5"),v=2"#;
        assert_eq!(json(said), expected);
    }

    #[test]
    fn what_is_no_pair_is_skipped_and_own_keys_stay_out() {
        let check = |text: &str, expected: &str| {
            let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(json(text), expected, "{text}");
        };
        check("br=x y,bl=5", r#"{"bl":5}"#);
        check("BR=1,=,==,,bl=5", r#"{"bl":5}"#);
        check("com.example-own=1,bl=5", r#"{"bl":5}"#);
        check("sid=\"a\\\"b\\\\c\"", r#"{"sid":"a\"b\\c"}"#);
        check("sid=\"open,bl=5", r#"{}"#);
        check("bl=5,bl=6", r#"{"bl":5}"#);
        check("d=1234567890123456,pr=01.5,bl=-5", r#"{"bl":-5}"#);
    }

    proptest! {
        #[test]
        fn any_text_makes_one_json_object(text in ".{0,300}") {
            if Cmcd::of_text(&text).is_some() {
                prop_assert!(json(&text).is_object());
            }
        }

        #[test]
        fn near_misses_make_one_json_object(text in "[a-z]{1,3}(=[-0-9.\"(),;\\\\ a?]{0,9})?(,(br|sid|nor)=[\"(]?[-0-9.a\\\\]{0,6}[\")]?){0,6}") {
            prop_assert!(json(&text).is_object());
        }
    }
}
