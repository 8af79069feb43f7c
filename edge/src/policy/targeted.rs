//! Targeted cache control (RFC 9213): `CDN-Cache-Control` as a Structured Fields dictionary
//! (RFC 8941 §3.2).

use http::{HeaderMap, header::HeaderName};

use super::directives::{MAX_SECONDS, Response};

/// The fields this cache heeds, most specific first.
const TARGETS: [HeaderName; 1] = [HeaderName::from_static("cdn-cache-control")];

/// The directives of the first targeted field that is there, valid and not empty; it then stands
/// in for `Cache-Control` and `Expires` (RFC 9213 §2.2).
pub(crate) fn directives(headers: &HeaderMap) -> Option<Response> {
    TARGETS.iter().find_map(|target| {
        let mut lines = headers
            .get_all(target)
            .iter()
            .map(|l| std::str::from_utf8(l.as_bytes()));
        let first = lines.next()?.ok()?;
        let mut text = first.to_owned();
        for line in lines {
            text.push(',');
            text.push_str(line.ok()?);
        }
        dictionary(&text)
            .filter(|members| !members.is_empty())
            .map(|members| {
                let mut all = Response::default();
                for (key, value) in members {
                    apply(&mut all, &key, &value);
                }
                all
            })
    })
}

/// A member's value, as far as directives need it.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    True,
    False,
    Integer(i64),
    Text(String),
    Other,
}

/// Takes one member in. Arguments of a wrong type count as absent (RFC 9213 §2.1).
fn apply(all: &mut Response, key: &str, value: &Value) {
    match value {
        Value::True => match key {
            "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => {}
            _ => all.take(key, None),
        },
        Value::Integer(n) => {
            let n = u64::try_from(*n).unwrap_or(0).min(MAX_SECONDS);
            all.take(key, Some(&n.to_string()));
        }
        Value::Text(text) => match key {
            "no-cache" | "private" => all.take(key, Some(text)),
            _ => {}
        },
        Value::False | Value::Other => {}
    }
}

/// Members of a dictionary, the last of equal keys holding; none where the text isn't one.
fn dictionary(text: &str) -> Option<Vec<(String, Value)>> {
    let mut parser = Parser(text.trim_matches(' ').as_bytes());
    let mut members: Vec<(String, Value)> = Vec::new();
    while !parser.0.is_empty() {
        let key = parser.key()?;
        let value = if parser.eat(b'=') {
            parser.item_or_list()?
        } else {
            Value::True
        };
        parser.parameters()?;
        members.retain(|(k, _)| *k != key);
        members.push((key, value));
        parser.spaces();
        if parser.0.is_empty() {
            return Some(members);
        }
        if !parser.eat(b',') {
            return None;
        }
        parser.spaces();
        if parser.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// What is left to read.
struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        let Some(rest) = self.0.strip_prefix(&[byte]) else {
            return false;
        };
        self.0 = rest;
        true
    }

    fn take(&mut self, mut wanted: impl FnMut(u8) -> bool) -> String {
        let end = self
            .0
            .iter()
            .position(|b| !wanted(*b))
            .unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        String::from_utf8_lossy(taken).into_owned()
    }

    fn spaces(&mut self) {
        self.take(|b| b == b' ' || b == b'\t');
    }

    fn key(&mut self) -> Option<String> {
        let starts = self
            .0
            .first()
            .is_some_and(|b| b.is_ascii_lowercase() || *b == b'*');
        starts.then(|| {
            self.take(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b))
        })
    }

    fn item_or_list(&mut self) -> Option<Value> {
        if !self.eat(b'(') {
            return self.item();
        }
        loop {
            self.take(|b| b == b' ');
            if self.eat(b')') {
                return Some(Value::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.take(|b| b == b' ');
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item(&mut self) -> Option<Value> {
        match *self.0.first()? {
            b'"' => self.string().map(Value::Text),
            b'?' => {
                self.eat(b'?');
                if self.eat(b'1') {
                    Some(Value::True)
                } else {
                    self.eat(b'0').then_some(Value::False)
                }
            }
            b':' => {
                self.eat(b':');
                self.take(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.eat(b':').then_some(Value::Other)
            }
            b'-' | b'0'..=b'9' => self.number(),
            b if b.is_ascii_alphabetic() || b == b'*' => {
                self.take(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let sign = if self.eat(b'-') { -1 } else { 1 };
        let digits = self.take(|b| b.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if !self.eat(b'.') {
            return digits.parse::<i64>().ok().map(|n| Value::Integer(sign * n));
        }
        let fraction = self.take(|b| b.is_ascii_digit());
        (digits.len() <= 12 && (1..=3).contains(&fraction.len())).then_some(Value::Other)
    }

    fn string(&mut self) -> Option<String> {
        self.eat(b'"');
        let mut text = String::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(text),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    if !b"\"\\".contains(&escaped) {
                        return None;
                    }
                    text.push(char::from(escaped));
                }
                0x20..=0x7e => text.push(char::from(byte)),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;

    use super::{Response, directives};

    fn of(lines: &[&str]) -> Option<Response> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cdn-cache-control", line.parse().unwrap());
        }
        directives(&headers)
    }

    #[test]
    fn valid_fields_are_taken() {
        assert_eq!(of(&["max-age=60"]).unwrap().max_age, Some(60));
        assert_eq!(
            of(&["max-age=60;a=1 ,\tno-store"]).unwrap().max_age,
            Some(60)
        );
        assert_eq!(
            of(&["max-age=1", "max-age=3600"]).unwrap().max_age,
            Some(3600)
        );
        assert_eq!(of(&["max-age=\"60\""]).unwrap().max_age, None);
        assert_eq!(of(&["max-age=-1"]).unwrap().max_age, Some(0));
        assert!(of(&["private, no-cache=?0"]).unwrap().private);
    }

    #[test]
    fn invalid_or_empty_fields_count_as_absent() {
        for text in [
            "",
            "max-age=",
            "Max-Age=60",
            "max-age=60,",
            "max-age=60 no-store",
            "max-age=6\u{7f}",
        ] {
            assert_eq!(
                text.parse::<http::HeaderValue>()
                    .ok()
                    .and_then(|_| of(&[text])),
                None,
                "{text}"
            );
        }
    }
}
