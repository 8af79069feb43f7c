//! Ogg pages (RFC 3533 section 6).

use std::io::{self, BufRead, Read};

/// Bytes searched for the next page where one should start.
const MAX_GAP_BYTES: u64 = 256 * 1024;
const FIXED_HEADER_BYTES: usize = 27;

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    /// The first packet began on an earlier page.
    pub(super) continued: bool,
    /// First page of its stream.
    pub(super) first: bool,
    /// Last page of its stream.
    pub(super) last: bool,
    /// Position of the last packet that ends here; −1 if none does.
    pub(super) granule: i64,
    /// The logical stream.
    pub(super) serial: u32,
    /// Counts the pages of the stream.
    pub(super) sequence: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

/// What reading a page came to.
#[derive(Debug)]
pub(super) enum Read1 {
    /// A page.
    Page(Page),
    /// The file ends where a page may end (or only garbage follows).
    End,
    /// The file ends inside a page.
    CutOff,
    /// A page doesn't match its checksum.
    Corrupt,
}

impl Page {
    /// Reads the next page, skipping garbage before it.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(super) fn read(file: &mut impl BufRead) -> io::Result<Read1> {
        if !find_capture(file)? {
            return Ok(Read1::End);
        }
        let mut header = vec![0; FIXED_HEADER_BYTES];
        header[..4].copy_from_slice(b"OggS");
        if !fill(file, &mut header[4..])? {
            return Ok(Read1::CutOff);
        }
        let mut lacing = vec![0; usize::from(header[26])];
        if !fill(file, &mut lacing)? {
            return Ok(Read1::CutOff);
        }
        let mut body = vec![0; lacing.iter().map(|n| usize::from(*n)).sum()];
        if !fill(file, &mut body)? {
            return Ok(Read1::CutOff);
        }
        let stated = u32::from_le_bytes([header[22], header[23], header[24], header[25]]);
        header[22..26].fill(0);
        let sum = [&header, &lacing, &body]
            .iter()
            .fold(0, |sum, bytes| crc(sum, bytes));
        if sum != stated {
            return Ok(Read1::Corrupt);
        }
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        Ok(Read1::Page(Page {
            continued: header[5] & 1 != 0,
            first: header[5] & 2 != 0,
            last: header[5] & 4 != 0,
            granule: (u64::from(word(10)) << 32 | u64::from(word(6))) as i64,
            serial: word(14),
            sequence: word(18),
            lacing,
            body,
        }))
    }

    /// The page's pieces of packets, in order, and whether each ends its packet.
    pub(super) fn pieces(&self) -> Vec<(&[u8], bool)> {
        let mut pieces = Vec::new();
        let (mut start, mut end) = (0, 0);
        for (n, lace) in self.lacing.iter().enumerate() {
            end += usize::from(*lace);
            let ends = *lace < 255;
            if ends || n + 1 == self.lacing.len() {
                pieces.push((&self.body[start..end], ends));
                start = end;
            }
        }
        pieces
    }
}

/// Moves past the next `OggS`. `false` if there is none within reach.
fn find_capture(file: &mut impl BufRead) -> io::Result<bool> {
    let mut matched = 0;
    for byte in file.take(MAX_GAP_BYTES).bytes() {
        let byte = byte?;
        matched = match byte {
            b if b == b"OggS"[matched] => matched + 1,
            b'O' => 1,
            _ => 0,
        };
        if matched == 4 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fills the buffer; `false` if the file ends first.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

/// CRC-32 with polynomial 0x04c11db7, not reflected, no inversion.
fn crc(sum: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(sum, |sum, byte| {
        sum << 8 ^ TABLE[usize::from((sum >> 24) as u8 ^ byte)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut r = (n as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            r = if r & 0x8000_0000 != 0 {
                r << 1 ^ 0x04c1_1db7
            } else {
                r << 1
            };
            bit += 1;
        }
        table[n] = r;
        n += 1;
    }
    table
}
