//! Reading field sections (RFC 7541). A section is decoded to its end whatever is wrong with its
//! lines, since those after it refer to the table it leaves; nothing of what is over a limit is
//! kept meanwhile, and what is far over it ends the connection.

use bytes::{Buf, Bytes};

use super::table::{Entry, SIZE, Table};
use crate::listen::field::{Error, Limits, Line, field_value, get_int, get_string, literal_line};

/// Times the limit above which a section is no mistake: references of one byte to entries of
/// thousands.
const BOMB: u64 = 8;

/// A connection's decoder.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    table: Table,
}

/// A line as it stands in a section, decoded or not fit to be.
struct Read {
    entry: Entry,
    indexed: bool,
}

impl Decoder {
    /// Decodes a section, handing each line to `take` until one is refused.
    ///
    /// # Errors
    /// [`Error::Decompression`] and [`Error::Bomb`] at once; others when the section is through.
    pub(super) fn decode(
        &mut self,
        mut section: &[u8],
        limits: Limits,
        mut take: impl FnMut(Line) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        let (mut left, mut count, mut total) = (limits.size, 0, 0);
        // Changes of the table's size come first (RFC 7541 §4.2).
        while section.first().is_some_and(|first| first & 0xe0 == 0x20) {
            let (_, max) = get_int(&mut section, 5)?;
            if !self.table.resize(max) {
                return Err(Error::Decompression);
            }
        }
        while !section.is_empty() {
            let Read { entry, indexed } = self.line(&mut section, left)?;
            let size = entry.size() as u64;
            count += 1;
            total += size;
            if total > BOMB * limits.size {
                return Err(Error::Bomb);
            }
            if result.is_ok() {
                result = match (left.checked_sub(size), &entry.line) {
                    (None, _) => Err(Error::TooLarge),
                    _ if count > limits.count => Err(Error::TooLarge),
                    (Some(_), None) => Err(Error::Malformed),
                    (Some(rest), Some(line)) => {
                        left = rest;
                        take(line.clone())
                    }
                };
            }
            if indexed {
                self.table.insert(entry);
            }
        }
        result
    }

    /// Reads a line (RFC 7541 §6).
    fn line(&self, section: &mut &[u8], left: u64) -> Result<Read, Error> {
        let first = section[0];
        if first & 0x80 != 0 {
            let (_, index) = get_int(section, 7)?;
            let entry = self.table.get(index).ok_or(Error::Decompression)?;
            let indexed = false;
            return Ok(Read { entry, indexed });
        }
        let (bits, indexed) = match first {
            0x40.. => (6, true),
            // A size may only change in front (RFC 7541 §4.2).
            0x20.. => return Err(Error::Decompression),
            _ => (4, false),
        };
        let (_, index) = get_int(section, bits)?;
        let entry = if index == 0 {
            let name = text(section, left)?;
            let value = text(section, left)?;
            literal(name, value)
        } else {
            let name = self.table.get(index).ok_or(Error::Decompression)?;
            named(name, text(section, left)?)
        };
        Ok(Read { entry, indexed })
    }
}

/// A string, or the length of one that neither the limit nor the table has room for.
enum Text {
    Whole(Bytes),
    TooLong(usize),
}

impl Text {
    fn len(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::TooLong(length) => *length,
        }
    }
}

fn text(section: &mut &[u8], left: u64) -> Result<Text, Error> {
    // What is over the limit may yet be one of the table's.
    let max = left.max(SIZE as u64);
    let before = section.remaining();
    match get_string(section, 7, max) {
        Ok(text) => Ok(Text::Whole(text)),
        Err(Error::TooLarge) => {
            // At least as long as it is allowed to be, and larger than the table.
            let coded = before - section.remaining();
            Ok(Text::TooLong(coded.max(max as usize + 1)))
        }
        Err(error) => Err(error),
    }
}

/// A line of two literals.
fn literal(name: Text, value: Text) -> Entry {
    let lengths = (name.len(), value.len());
    let line = match (name, value) {
        (Text::Whole(name), Text::Whole(value)) => literal_line(name, value).ok(),
        _ => None,
    };
    Entry {
        line,
        name: lengths.0,
        value: lengths.1,
    }
}

/// A line with the name of an entry.
fn named(of: Entry, value: Text) -> Entry {
    let length = value.len();
    let line = match (of.line, value) {
        (Some(Line::Pseudo(name, _)), Text::Whole(value)) => Some(Line::Pseudo(name, value)),
        (Some(Line::Field(name, _)), Text::Whole(value)) => field_value(value)
            .ok()
            .map(|value| Line::Field(name, value)),
        _ => None,
    };
    Entry {
        line,
        name: of.name,
        value: length,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMITS: Limits = Limits {
        size: 10_000,
        count: 20,
    };

    /// The lines of a section, `name: value` each.
    fn lines(decoder: &mut Decoder, section: &[u8]) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        decoder.decode(section, LIMITS, |line| {
            lines.push(match line {
                Line::Pseudo(name, value) => format!(
                    "{}: {}",
                    String::from_utf8_lossy(&name),
                    String::from_utf8_lossy(&value)
                ),
                Line::Field(name, value) => format!("{name}: {}", value.to_str().unwrap()),
            });
            Ok(())
        })?;
        Ok(lines)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex.replace([' ', '\n'], "")).unwrap()
    }

    /// RFC 7541 §C.3 and §C.4: three requests on a connection.
    #[test]
    fn examples_of_the_rfc() {
        let first = [
            ":method: GET",
            ":scheme: http",
            ":path: /",
            ":authority: www.example.com",
        ];
        let second = [&first[..], &["cache-control: no-cache"]].concat();
        let third = [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ];
        for sections in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::default();
            let mut read = |i: usize| lines(&mut decoder, &bytes(sections[i])).unwrap();
            assert_eq!(read(0), first);
            assert_eq!(read(1), second);
            assert_eq!(read(2), third);
            assert_eq!(decoder.table.get(62).unwrap().size(), 54);
        }
    }

    #[test]
    fn old_entries_make_room() {
        let mut decoder = Decoder::default();
        let mut section = Vec::new();
        for i in 0..10 {
            // `x: iii…`, 933 bytes: four fit.
            section.extend([0x40, 1, b'x', 0x7f, 0x85, 0x06]);
            section.extend([b'0' + i; 900]);
        }
        assert_eq!(lines(&mut decoder, &section).unwrap().len(), 10);
        assert!(lines(&mut decoder, &[0xbe]).unwrap()[0].ends_with('9'));
        assert!(lines(&mut decoder, &[0xc1]).unwrap()[0].ends_with('6'));
        assert_eq!(lines(&mut decoder, &[0xc2]), Err(Error::Decompression));
        // A smaller table keeps the newest, none of size empties it.
        assert_eq!(
            lines(&mut decoder, &[0x3f, 0xb1, 0x0f, 0xbf])
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            lines(&mut decoder, &[0x20, 0xbe]),
            Err(Error::Decompression)
        );
        // It may not grow beyond what is allowed, nor change within a section.
        assert_eq!(
            lines(&mut decoder, &[0x3f, 0xe2, 0x1f]),
            Err(Error::Decompression)
        );
        assert_eq!(
            lines(&mut decoder, &[0x82, 0x20]),
            Err(Error::Decompression)
        );
    }

    #[test]
    fn what_is_refused_is_still_in_the_table() {
        let mut decoder = Decoder::default();
        // Upper case is malformed; the next section refers to the entry behind it.
        let section = [0x40, 1, b'A', 1, b'b', 0x40, 1, b'a', 1, b'b'];
        assert_eq!(lines(&mut decoder, &section), Err(Error::Malformed));
        assert_eq!(lines(&mut decoder, &[0xbe]).unwrap(), ["a: b"]);
        assert_eq!(lines(&mut decoder, &[0xbf]), Err(Error::Malformed));
        // A name that was malformed stays so.
        assert_eq!(
            lines(&mut decoder, &[0x0f, 48, 1, b'c']),
            Err(Error::Malformed)
        );
        // Over the limit of fields, and then as if nothing had been.
        let many = [&[0x82; 30][..], &[0x40, 1, b'n', 1, b'w']].concat();
        assert_eq!(lines(&mut decoder, &many), Err(Error::TooLarge));
        assert_eq!(lines(&mut decoder, &[0xbe]).unwrap(), ["n: w"]);
    }

    #[test]
    fn bombs_are_bounded() {
        let mut decoder = Decoder::default();
        let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
        assert_eq!(lines(&mut decoder, &entry).unwrap().len(), 1);
        let mut size = 0;
        let bomb = vec![0xbe; 16_000];
        let result = decoder.decode(&bomb, LIMITS, |line| {
            if let Line::Field(_, value) = line {
                size += value.len();
            }
            Ok(())
        });
        assert_eq!(result, Err(Error::Bomb));
        assert!(size <= 10_000, "{size}");
    }

    #[test]
    fn broken_sections() {
        for section in [
            &[0x80][..],
            &[0xbe],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x40, 5, b'a'],
            &[0x41],
            &[0x41, 0x81, 0x00],
        ] {
            let got = lines(&mut Decoder::default(), section);
            assert_eq!(got, Err(Error::Decompression), "{section:02x?}");
        }
    }
}
