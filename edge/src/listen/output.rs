//! What an HTTP/1.1 or HTTP/2 connection is to write: framing in one buffer, bodies as the shared bytes
//! they are, in order.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

/// Most pieces handed to the wire at a time; the kernel takes 1,024.
const PIECES: usize = 256;

/// Pieces that need no allocation to be handed over.
const FEW: usize = 16;

/// Room for the framing of most rounds, a response's head among it.
const FRAMING: usize = 1 << 10;

/// Written framing that may stay in front of what isn't.
const WRITTEN: usize = 16 << 10;

/// A run of bytes.
#[derive(Debug)]
enum Piece {
    /// The next so many of the framing.
    Framing(usize),
    /// Of a body.
    Body(Bytes),
}

/// A connection's output.
#[derive(Debug, Default)]
pub(crate) struct Output {
    framing: Vec<u8>,
    /// Of `framing`, what is written.
    start: usize,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Output {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Whether none do.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends framing.
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.framing.capacity() == 0 {
            self.framing.reserve(FRAMING);
        }
        let before = self.framing.len();
        write(&mut self.framing);
        let length = self.framing.len() - before;
        self.bytes += length;
        match self.pieces.back_mut() {
            Some(Piece::Framing(last)) => *last += length,
            _ => self.pieces.push_back(Piece::Framing(length)),
        }
    }

    /// Appends bytes of a body.
    pub(crate) fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.bytes += data.len();
            self.pieces.push_back(Piece::Body(data));
        }
    }

    /// Calls `take` with what waits first, as the wire takes it.
    pub(crate) fn with_slices<R>(&self, take: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut few = [IoSlice::new(&[]); FEW];
        if self.pieces.len() <= FEW {
            let count = self.fill(&mut few);
            return take(&few[..count]);
        }
        let mut many = vec![IoSlice::new(&[]); self.pieces.len().min(PIECES)];
        let count = self.fill(&mut many);
        take(&many[..count])
    }

    /// Fills `slices` with what waits first; how many it took.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut start, mut count) = (self.start, 0);
        for (piece, slice) in self.pieces.iter().zip(slices) {
            *slice = IoSlice::new(match piece {
                Piece::Framing(length) => {
                    start += length;
                    &self.framing[start - length..start]
                }
                Piece::Body(bytes) => bytes,
            });
            count += 1;
        }
        count
    }

    /// All that waits, for who looks at it.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.bytes);
        self.with_slices(|slices| slices.iter().for_each(|s| whole.extend_from_slice(s)));
        whole
    }

    /// The first `written` bytes are with the wire.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        if self.bytes == 0 {
            // Nothing is kept for a connection at rest.
            return *self = Self::default();
        }
        while let Some(piece) = self.pieces.front_mut() {
            match piece {
                Piece::Framing(length) => {
                    let part = (*length).min(written);
                    (*length, written) = (*length - part, written - part);
                    self.start += part;
                    if *length > 0 {
                        break;
                    }
                }
                Piece::Body(bytes) => {
                    let part = bytes.len().min(written);
                    written -= part;
                    let _ = bytes.split_to(part);
                    if !bytes.is_empty() {
                        break;
                    }
                }
            }
            self.pieces.pop_front();
        }
        // What is written of a connection that is never at rest.
        if self.start > WRITTEN {
            self.framing.drain(..self.start);
            self.start = 0;
        }
    }
}
