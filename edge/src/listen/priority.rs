//! How urgent a response is to its client (RFC 9218).

use http::{HeaderMap, HeaderName};

/// A request's priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority {
    /// 0, the most urgent, to 7.
    pub(crate) urgency: u8,
    /// Whether parts are of use before the whole is there: such responses share the connection.
    pub(crate) incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// Urgencies there are.
    pub(crate) const URGENCIES: usize = 8;

    /// What a request's fields say; none where they say nothing.
    pub(crate) fn of(fields: &HeaderMap) -> Option<Self> {
        let value = fields.get(HeaderName::from_static("priority"))?;
        Some(Self::parse(value.as_bytes()))
    }

    /// Reads a structured dictionary (RFC 9218 §4); what is no priority counts as not said.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let mut this = Self::default();
        for item in value.split(|byte| *byte == b',') {
            match item.trim_ascii() {
                [b'u', b'=', digit @ b'0'..=b'7'] => this.urgency = digit - b'0',
                b"i" | b"i=?1" => this.incremental = true,
                b"i=?0" => this.incremental = false,
                _ => {}
            }
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say() {
        let check = |value: &str, urgency: u8, incremental: bool| {
            let expected = Priority {
                urgency,
                incremental,
            };
            assert_eq!(Priority::parse(value.as_bytes()), expected, "{value}");
        };
        check("u=0", 0, false);
        check("i, u=5", 5, true);
        check("u=1,i=?0", 1, false);
        check("u=9", 3, false);
        check("i", 3, true);
        check("u=a, x", 3, false);
        assert_eq!(Priority::of(&HeaderMap::new()), None);
    }
}
