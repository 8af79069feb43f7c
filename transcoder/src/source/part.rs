//! A range of a file as a media source of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// Bytes `start..end` of a file, numbered from 0.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    start: u64,
    len: u64,
    pos: u64,
}

impl Part {
    /// The bytes `start..end` of that file.
    ///
    /// # Errors
    /// If the file can't be positioned.
    pub(super) fn new(mut file: File, start: u64, end: u64) -> io::Result<Part> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Part {
            file,
            start,
            len: end.saturating_sub(start),
            pos: 0,
        })
    }
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.pos)).unwrap_or(usize::MAX);
        let want = buf.len().min(left);
        let got = self.file.read(&mut buf[..want])?;
        self.pos += got as u64;
        Ok(got)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let pos = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.len.checked_add_signed(n),
            SeekFrom::Current(n) => self.pos.checked_add_signed(n),
        };
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "seek out of range");
        let pos = pos.ok_or_else(invalid)?;
        let absolute = self.start.checked_add(pos).ok_or_else(invalid)?;
        self.file.seek(SeekFrom::Start(absolute))?;
        self.pos = pos;
        Ok(pos)
    }
}

impl MediaSource for Part {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}
