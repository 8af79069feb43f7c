//! Text of unknown origin, made safe inside a playlist attribute or an XML document.

use std::fmt::Write as _;

/// A quoted-string value of RFC 8216 §4.2, without the quotes: it can hold neither line breaks nor
/// double quotes and knows no escape, so controls become spaces and quotes become apostrophes.
pub(crate) fn quoted(text: &str) -> String {
    text.chars()
        .map(|c| if c == '"' { '\'' } else { plain(c) })
        .collect()
}

/// The rest of a playlist line, such as the title of `EXTINF`: anything but line breaks.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(plain).collect()
}

fn plain(c: char) -> char {
    let breaks = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    if breaks { ' ' } else { c }
}

/// XML character data or an attribute value. Characters that XML 1.0 §2.2 forbids are dropped.
pub(crate) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\u{fffe}' | '\u{ffff}' => {}
            c if u32::from(c) < 0x20 => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_break_out_of_an_attribute() {
        assert_eq!(quoted("a\",URI=\"x\r\n#EXTM3U"), "a',URI='x  #EXTM3U");
        assert_eq!(line("a, \"b\"\nhttp://x"), "a, \"b\" http://x");
        assert_eq!(
            xml("<a b='\"'>&\u{1}\n"),
            "&lt;a b=&apos;&quot;&apos;&gt;&amp;&#10;"
        );
    }
}
