//! Frames of requests: heads, bodies and trailers, in the states streams have (RFC 9113 §5.1 and
//! §8.1).

use std::sync::Arc;

use http::HeaderMap;

use super::{
    core::Core,
    error::{Code, Fault},
    receiving::Receiving,
    stream::Stream,
};
use crate::{
    config::Limits,
    listen::{
        field::{self, Line},
        head::Head,
        priority::Priority,
        unfit,
        upload::{self, Receiver},
        wakes::Wakes,
    },
};

/// A request whose head is complete.
pub(super) struct Asked {
    /// To be answered, or put with the others while it waits.
    pub(super) stream: Box<Stream>,
    pub(super) head: Box<Head>,
    /// Of the body, if announced.
    pub(super) length: Option<u64>,
    /// What makes it unfit for the service.
    pub(super) fault: Option<unfit::Fault>,
}

impl Asked {
    /// The reading end of the request's body; none where it has none.
    pub(super) fn body(&mut self, wakes: &Arc<Wakes>, limits: &Limits) -> Option<Receiver> {
        if !self.stream.receiving.open {
            return None;
        }
        let (sender, receiver) = upload::channel(wakes, self.stream.id, limits);
        self.stream.receiving.upload = Some(sender);
        Some(receiver)
    }
}

impl Core {
    /// A field section: a head, or trailers.
    pub(super) fn section(
        &mut self,
        id: u32,
        block: &[u8],
        ends: bool,
    ) -> Result<Option<Asked>, Fault> {
        if id.is_multiple_of(2) {
            return Err(Fault::Connection(Code::Protocol));
        }
        if id <= self.last {
            return self.trailers(id, block, ends).map(|()| None);
        }
        self.last = id;
        let mut head = Box::new(Head::default());
        let read = self
            .decoder
            .decode(block, self.bounds.sections, |line| head.take(line));
        survives(read)?;
        let foretold = self.foretold(id);
        if !self.takes_requests() {
            self.recent.note(id, true);
            return Ok(None);
        }
        if self.streams.len() >= self.bounds.streams {
            return Err(Fault::Stream(id, Code::RefusedStream));
        }
        let malformed = Fault::Stream(id, Code::Protocol);
        let (length, fault) = match read {
            Ok(()) => {
                let length = head.check().ok_or(malformed)?;
                (length, self.unfit(&head, length))
            }
            Err(field::Error::TooLarge) => (None, Some(unfit::Fault::TooManyFields)),
            Err(_) => return Err(malformed),
        };
        if ends && length.is_some_and(|length| length > 0) {
            return Err(malformed);
        }
        let said = Priority::of(&head.fields);
        let stream = Stream {
            id,
            receiving: Receiving::new(!ends, length, self.bounds.body),
            window: self.sending.initial,
            priority: foretold.or(said).unwrap_or_default(),
            queued: false,
            interims: 0,
            answer: None,
            exchange: None,
            sent: 0,
            waiting: None,
            job: None,
        };
        Ok(Some(Asked {
            stream: Box::new(stream),
            head,
            length,
            fault,
        }))
    }

    fn unfit(&self, head: &Head, length: Option<u64>) -> Option<unfit::Fault> {
        let target = head.path.as_ref().map_or(0, |path| path.as_str().len());
        if target as u64 > self.bounds.target {
            return Some(unfit::Fault::TargetTooLong);
        }
        let too_large = length.is_some_and(|length| length > self.bounds.body);
        too_large.then_some(unfit::Fault::BodyTooLarge)
    }

    /// A section on a stream that has begun before.
    fn trailers(&mut self, id: u32, block: &[u8], ends: bool) -> Result<(), Fault> {
        let mut fields = HeaderMap::new();
        let read = self
            .decoder
            .decode(block, self.bounds.sections, |line| match line {
                Line::Field(name, value) => {
                    fields.append(name, value);
                    Ok(())
                }
                Line::Pseudo(..) => Err(field::Error::Malformed),
            });
        survives(read)?;
        let Some(stream) = self.streams.get(id) else {
            return match self.recent.was_reset(id) {
                Some(true) => Ok(()),
                Some(false) => Err(Fault::Connection(Code::StreamClosed)),
                None => Err(Fault::Connection(Code::Protocol)),
            };
        };
        let fault = |code| Fault::Stream(id, code);
        if !stream.receiving.open {
            return Err(fault(Code::StreamClosed));
        }
        if !ends || read.is_err() {
            return Err(fault(Code::Protocol));
        }
        if let Some(upload) = &stream.receiving.upload {
            upload.trailers(fields);
        }
        stream.receiving.end().map_err(fault)
    }

    /// Bytes of a body.
    pub(super) fn data(
        &mut self,
        id: u32,
        data: &[u8],
        size: u32,
        ends: bool,
    ) -> Result<(), Fault> {
        self.begun(id)?;
        self.window -= i64::from(size);
        if self.window < 0 {
            return Err(Fault::Connection(Code::FlowControl));
        }
        let taken = match self.streams.get(id) {
            Some(stream) if stream.receiving.open => {
                let taken = stream.receiving.data(data, size, ends);
                if let Some(padding) = stream.receiving.padding() {
                    self.sending.out.window(id, padding);
                }
                taken
            }
            Some(_) => Err(Code::StreamClosed),
            None if self.recent.was_reset(id) == Some(true) => Ok(size),
            None if self.recent.was_reset(id) == Some(false) => {
                return Err(Fault::Connection(Code::StreamClosed));
            }
            None => Err(Code::StreamClosed),
        };
        match taken {
            Ok(back) => {
                self.owe(back);
                Ok(())
            }
            Err(code) => {
                self.owe(size);
                Err(Fault::Stream(id, code))
            }
        }
    }

    /// A reader has taken some of a request's body, or is gone.
    pub(super) fn read(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (update, read) = stream.receiving.claim();
        if update > 0 && stream.receiving.open {
            self.sending.out.window(id, update);
        }
        self.owe(read);
    }
}

/// Whether the connection's table is known after a section was read.
fn survives(read: Result<(), field::Error>) -> Result<(), Fault> {
    match read {
        Err(field::Error::Decompression) => Err(Fault::Connection(Code::Compression)),
        Err(field::Error::Bomb) => Err(Fault::Connection(Code::EnhanceYourCalm)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use super::{
        super::{
            frame::{self, flag, kind},
            reader::PREFACE,
        },
        *,
    };
    /// POST, https, `/`, authority `a`.
    const POST: &[u8] = &[0x83, 0x87, 0x84, 0x41, 1, b'a'];

    fn one(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        [
            &frame::header(payload.len(), kind, flags, stream)[..],
            payload,
        ]
        .concat()
    }

    #[test]
    fn no_more_than_its_window_is_held_of_a_connection() {
        let now = Instant::now();
        let mut core = Core::new(&Limits::default(), None, now);
        let mut bytes = [PREFACE, &one(kind::SETTINGS, 0, 0, &[])].concat();
        for stream in [1, 3, 5, 7, 9] {
            bytes.extend(one(kind::HEADERS, flag::END_HEADERS, stream, POST));
        }
        let mut bytes = &bytes[..];
        let mut readers = Vec::new();
        while let Some(mut asked) = core.next(&mut bytes, now) {
            readers.push(asked.body(&Arc::default(), &Limits::default()).unwrap());
            core.streams.put(asked.stream);
        }
        assert_eq!(readers.len(), 5);
        let full = one(kind::DATA, 0, 0, &[0; 16_384]);
        let mut fill = |stream: u8| {
            let mut frame = full.clone();
            frame[8] = stream;
            assert!(core.next(&mut &frame[..], now).is_none());
            core.closing
        };
        for stream in [1, 3, 5, 7] {
            for _ in 0..4 {
                assert_eq!(fill(stream), None);
            }
        }
        assert_eq!(fill(9), Some(Code::FlowControl));
    }

    #[test]
    fn streams_over_the_limit_are_refused_but_their_fields_are_read() {
        let now = Instant::now();
        let limits = Limits {
            streams: 1,
            ..Limits::default()
        };
        let mut core = Core::new(&limits, None, now);
        let ends = flag::END_HEADERS | flag::END_STREAM;
        let bytes = [
            PREFACE,
            &one(kind::SETTINGS, 0, 0, &[]),
            &one(kind::HEADERS, ends, 1, POST),
            // Puts its authority in the table.
            &one(kind::HEADERS, ends, 3, &[0x82, 0x87, 0x84, 0x41, 1, b'b']),
        ]
        .concat();
        let mut bytes = &bytes[..];
        let first = core.next(&mut bytes, now).unwrap();
        core.streams.put(first.stream);
        assert!(core.next(&mut bytes, now).is_none() && core.closing.is_none());
        core.streams.clear();
        let third = one(kind::HEADERS, ends, 5, &[0x82, 0x87, 0x84, 0xbe]);
        let third = core.next(&mut &third[..], now).unwrap();
        assert_eq!(third.head.authority.unwrap(), "b");
    }
}
