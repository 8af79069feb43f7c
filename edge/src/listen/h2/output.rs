//! HTTP/2 frames as output.

use bytes::Bytes;

use super::{
    error::Code,
    frame::{self, HEADER, PAYLOAD, flag, kind},
};
use crate::listen::output::Output;

impl Output {
    /// A frame of a few bytes.
    pub(super) fn control(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.put(|out| {
            frame::put(out, payload.len(), kind, flags, stream);
            out.extend_from_slice(payload);
        });
    }

    /// RST_STREAM.
    pub(super) fn reset(&mut self, stream: u32, code: Code) {
        self.control(kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
    }

    /// WINDOW_UPDATE.
    pub(super) fn window(&mut self, stream: u32, increment: u32) {
        self.control(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// A field section that `encode` appends: HEADERS, and CONTINUATION where it is long.
    pub(super) fn section(&mut self, stream: u32, ends: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        let end_stream = if ends { flag::END_STREAM } else { 0 };
        self.put(|out| {
            let start = out.len();
            frame::put(
                out,
                0,
                kind::HEADERS,
                end_stream | flag::END_HEADERS,
                stream,
            );
            encode(out);
            let length = out.len() - start - HEADER;
            if length <= PAYLOAD {
                let [a, b, c, ..] = frame::header(length, 0, 0, 0);
                out[start..start + 3].copy_from_slice(&[a, b, c]);
            } else {
                let section = out.split_off(start + HEADER);
                out.truncate(start);
                split(out, &section, stream, end_stream);
            }
        });
    }

    /// A DATA frame of at most [`PAYLOAD`] bytes.
    pub(super) fn data(&mut self, stream: u32, data: Bytes, ends: bool) {
        let flags = if ends { flag::END_STREAM } else { 0 };
        self.put(|out| frame::put(out, data.len(), kind::DATA, flags, stream));
        self.push(data);
    }
}

/// A long field section in frames the client takes.
fn split(out: &mut Vec<u8>, section: &[u8], stream: u32, end_stream: u8) {
    let count = section.len().div_ceil(PAYLOAD);
    for (i, part) in section.chunks(PAYLOAD).enumerate() {
        let (kind, flags) = match i {
            0 => (kind::HEADERS, end_stream),
            _ => (kind::CONTINUATION, 0),
        };
        let last = if i + 1 == count { flag::END_HEADERS } else { 0 };
        frame::put(out, part.len(), kind, flags | last, stream);
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Output {
        let mut output = Output::default();
        output.section(1, false, |out| out.extend_from_slice(b"fields"));
        output.data(1, Bytes::from_static(b"body"), false);
        output.data(1, Bytes::new(), true);
        output.window(0, 7);
        output
    }

    #[test]
    fn pieces_in_order_however_they_are_taken() {
        let expected = [
            &[0, 0, 6, 1, 4, 0, 0, 0, 1][..],
            b"fields",
            &[0, 0, 4, 0, 0, 0, 0, 0, 1],
            b"body",
            &[0, 0, 0, 0, 1, 0, 0, 0, 1],
            &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(filled().whole(), expected);
        for step in 1..expected.len() {
            let (mut output, mut got) = (filled(), Vec::new());
            while !output.is_empty() {
                let part = output.whole();
                let part = &part[..step.min(part.len())];
                got.extend_from_slice(part);
                output.advance(part.len());
            }
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn long_sections_are_continued() {
        let mut output = Output::default();
        output.section(3, true, |out| out.resize(out.len() + 2 * PAYLOAD + 1, b'x'));
        let got = output.whole();
        assert_eq!(got[..HEADER], [0, 0x40, 0, 1, flag::END_STREAM, 0, 0, 0, 3]);
        assert_eq!(
            got[HEADER + PAYLOAD..][..HEADER],
            [0, 0x40, 0, 9, 0, 0, 0, 0, 3]
        );
        let last = &got[2 * (HEADER + PAYLOAD)..];
        assert_eq!(last, [0, 0, 1, 9, flag::END_HEADERS, 0, 0, 0, 3, b'x']);
    }
}
