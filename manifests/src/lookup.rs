//! The segment view: `init.mp4` and `{n}.m4s` as byte ranges of a rendition's file.

use crate::{ByteRange, Rendition};

/// A part of a rendition that has a URL of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `init.mp4`: `ftyp` and `moov`.
    Init,
    /// `{n}.m4s`, from 1.
    Segment(u32),
}

impl Part {
    /// Reads a file name of the segment view. Numbers have one spelling: no sign, no leading zero.
    pub fn from_file_name(name: &str) -> Option<Part> {
        if name == "init.mp4" {
            return Some(Part::Init);
        }
        let digits = name.strip_suffix(".m4s")?;
        let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        canonical.then(|| digits.parse().ok().map(Part::Segment))?
    }
}

impl Rendition {
    /// Where a part lies in the rendition's file; `None` for a segment that it does not have.
    pub fn part(&self, part: Part) -> Option<ByteRange> {
        match part {
            Part::Init => Some(self.init),
            Part::Segment(number) => {
                let index = usize::try_from(number).ok()?.checked_sub(1)?;
                self.segments.get(index).map(|s| s.bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_one_spelling() {
        assert_eq!(Part::from_file_name("init.mp4"), Some(Part::Init));
        assert_eq!(Part::from_file_name("12.m4s"), Some(Part::Segment(12)));
        for bad in [
            "0.m4s",
            "01.m4s",
            "+1.m4s",
            ".m4s",
            "1.mp4",
            "99999999999.m4s",
            "1.m4s/",
        ] {
            assert_eq!(Part::from_file_name(bad), None, "{bad}");
        }
    }
}
