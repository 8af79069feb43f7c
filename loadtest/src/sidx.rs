//! The segment index of a packed rendition (ISO/IEC 14496-12 §8.16.3), as a player reads it.

/// One segment: where it lies and how long it sounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) seconds: f64,
}

/// Finds the `sidx` box among a file's first bytes and reads its segments. `None` where there is
/// none, or it is cut off or isn't flat.
pub(crate) fn segments(head: &[u8]) -> Option<Vec<Segment>> {
    let mut at = 0usize;
    loop {
        let size = u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind = head.get(at + 4..at + 8)?;
        if size < 8 {
            return None;
        }
        if kind == b"sidx" {
            return read(head.get(at + 8..at + size)?, (at + size) as u64);
        }
        at = at.checked_add(size)?;
    }
}

fn read(body: &[u8], after: u64) -> Option<Vec<Segment>> {
    let mut rest = body;
    let mut take = |len: usize| {
        let (head, tail) = rest.split_at_checked(len)?;
        rest = tail;
        Some(head.iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b)))
    };
    let version = take(4)? >> 24;
    take(4)?;
    let timescale = take(4)?;
    let width = if version == 0 { 4 } else { 8 };
    take(width)?;
    let mut start = after.checked_add(take(width)?)?;
    let count = take(4)? & 0xffff;
    if timescale == 0 {
        return None;
    }
    (0..count)
        .map(|_| {
            let (reference, ticks) = (take(4)?, take(4)?);
            take(4)?;
            // A set top bit points to another index.
            let end = start
                .checked_add(reference)
                .filter(|_| reference < 1 << 31)?;
            let segment = Segment {
                start,
                end,
                seconds: ticks as f64 / timescale as f64,
            };
            start = end;
            Some(segment)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Segment, segments};

    pub(super) fn file() -> Vec<u8> {
        let mut file = vec![0, 0, 0, 12, b'f', b't', b'y', b'p', 1, 2, 3, 4];
        let mut sidx = vec![0, 0, 0, 0];
        for field in [1u32, 48_000, 0, 0] {
            sidx.extend(field.to_be_bytes());
        }
        sidx.extend([0, 0, 0, 2]);
        for (size, ticks) in [(1000u32, 96_000u32), (500, 48_000)] {
            sidx.extend([size, ticks, 0x9000_0000].map(u32::to_be_bytes).concat());
        }
        file.extend((sidx.len() as u32 + 8).to_be_bytes());
        file.extend(b"sidx");
        file.extend(sidx);
        file
    }

    #[test]
    fn segments_follow_one_another() {
        let file = file();
        let at = file.len() as u64;
        let expected = [
            Segment {
                start: at,
                end: at + 1000,
                seconds: 2.0,
            },
            Segment {
                start: at + 1000,
                end: at + 1500,
                seconds: 1.0,
            },
        ];
        assert_eq!(segments(&file).as_deref(), Some(&expected[..]));
        for len in 0..file.len() {
            assert_eq!(segments(&file[..len]), None);
        }
        assert_eq!(segments(&[0; 64]), None);
    }
}
