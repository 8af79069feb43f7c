//! The state of one HTTP/2 connection (RFC 9113): bytes in, requests out; responses in, bytes out.
//! No I/O, no task, and the time is a parameter. What it does with frames of requests is in
//! `requests.rs`, what it does with responses in `responses.rs`.

use std::time::Instant;

use http::HeaderValue;

use super::{
    CONNECTION_WINDOW,
    error::{Code, Fault},
    frame::{Frame, Header, MAX_31, PAYLOAD, flag, kind, setting},
    hpack::Decoder,
    reader::Reader,
    requests::Asked,
    sending::{HIGH, Sending},
    stalls::Stalls,
    stream::{Recent, Stream, Streams},
};
use crate::{
    config::Limits,
    listen::{
        allowance::{Allowance, RESETS_PER_SECOND},
        field,
        priority::Priority,
        upload::WINDOW,
    },
};

/// What the PING of a drain carries.
const DRAIN_PING: [u8; 8] = *b"draining";

/// Streams not begun whose priority is known (RFC 9218 §7.1); later ones push out earlier ones.
const FORETOLD: usize = 8;

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// There is none.
    No,
    /// The client was told, and may not know yet (RFC 9113 §6.8).
    Announced,
    /// No request is taken any more.
    Final,
}

/// Bounds of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) sections: field::Limits,
    pub(super) target: u64,
    pub(super) body: u64,
    pub(super) streams: usize,
}

/// A field section that has begun and not ended.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) stream: u32,
    pub(super) ends: bool,
    pub(super) block: Vec<u8>,
}

/// A connection's state.
pub(super) struct Core {
    reader: Reader,
    pub(super) decoder: Decoder,
    heading: Option<Box<Heading>>,
    pub(super) bounds: Bounds,
    pub(super) sending: Sending,
    pub(super) streams: Streams,
    pub(super) recent: Recent,
    /// Streams whose bodies are to be asked for more.
    pub(super) hungry: Vec<u32>,
    /// The last request's stream.
    pub(super) last: u32,
    /// Bytes the client may still send of all bodies.
    pub(super) window: i64,
    /// Bytes to be given back with the next update of that window.
    owed: u32,
    /// Priorities of requests to come.
    foretold: Vec<(u32, Priority)>,
    /// Streams the client may still make us reset (CVE-2025-8671).
    faults: Allowance,
    /// Whether the client's first SETTINGS came.
    settled: bool,
    pub(super) drain: Drain,
    /// The last stream that GOAWAY has promised to serve; that only falls.
    promised: u32,
    /// The client asks for nothing more.
    leaving: bool,
    /// Why the connection ends; nothing is read any more.
    pub(super) closing: Option<Code>,
    pub(super) stalls: Stalls,
}

impl Core {
    /// A new connection; our SETTINGS wait to be written (RFC 9113 §3.4).
    pub(super) fn new(limits: &Limits, alt_svc: Option<HeaderValue>, now: Instant) -> Self {
        let pending = u32::try_from(limits.pending_resets).unwrap_or(u32::MAX);
        let mut this = Self {
            reader: Reader::default(),
            decoder: Decoder::default(),
            heading: None,
            bounds: Bounds {
                sections: field::Limits {
                    size: limits.header_size,
                    count: limits.header_count,
                },
                target: limits.target_size,
                body: limits.body_size,
                streams: limits.streams as usize,
            },
            sending: Sending::new(alt_svc),
            streams: Streams::default(),
            recent: Recent::default(),
            hungry: Vec::new(),
            last: 0,
            window: CONNECTION_WINDOW.into(),
            owed: 0,
            foretold: Vec::new(),
            faults: Allowance::new(pending.saturating_mul(8), RESETS_PER_SECOND, now),
            settled: false,
            drain: Drain::No,
            promised: MAX_31,
            leaving: false,
            closing: None,
            stalls: Stalls::new(limits, now),
        };
        let mut settings = Vec::with_capacity(24);
        for (id, value) in [
            (setting::MAX_CONCURRENT_STREAMS, limits.streams),
            (setting::INITIAL_WINDOW_SIZE, WINDOW),
            (
                setting::MAX_HEADER_LIST_SIZE,
                u32::try_from(limits.header_size).unwrap_or(u32::MAX),
            ),
            (setting::NO_RFC7540_PRIORITIES, 1),
        ] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        let out = &mut this.sending.out;
        out.control(kind::SETTINGS, 0, 0, &settings);
        // Connections begin with 65,535 bytes, whatever SETTINGS say.
        out.window(0, CONNECTION_WINDOW - 65_535);
        this
    }

    /// Takes bytes from the client up to its next request, and what was taken off `bytes`. None
    /// where more must come first, and also, with `bytes` left, where output must leave first.
    pub(super) fn next(&mut self, bytes: &mut &[u8], now: Instant) -> Option<Asked> {
        let mut reader = std::mem::take(&mut self.reader);
        let mut asked = None;
        while asked.is_none() && self.closing.is_none() && self.sending.out.len() < HIGH {
            let read = match reader.next(bytes) {
                Ok(None) => break,
                Ok(Some((header, payload))) => self.expected(&header).and_then(|()| {
                    let frame = Frame::read(&header, payload)?;
                    self.frame(frame)
                }),
                Err(fault) => Err(fault),
            };
            match read {
                Ok(found) => asked = found,
                Err(fault) => self.fail(fault, now),
            }
        }
        if self.closing.is_some() {
            *bytes = &[];
        }
        self.reader = reader;
        asked
    }

    /// Whether a frame may come now: SETTINGS first, and nothing within a field section but the
    /// rest of it (RFC 9113 §3.4 and §4.3).
    fn expected(&self, header: &Header) -> Result<(), Fault> {
        let settings = header.kind == kind::SETTINGS && header.flags & flag::ACK == 0;
        let strays = self.heading.is_some() && header.kind != kind::CONTINUATION;
        if strays || !(self.settled || settings) {
            return Err(Fault::Connection(Code::Protocol));
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<Option<Asked>, Fault> {
        match frame {
            Frame::Headers {
                stream,
                block,
                ends,
                whole: true,
            } => return self.section(stream, block, ends),
            Frame::Headers {
                stream,
                block,
                ends,
                whole: false,
            } => {
                self.heading = Some(Box::new(Heading {
                    stream,
                    ends,
                    block: block.to_vec(),
                }));
            }
            Frame::Continuation {
                stream,
                block,
                last,
            } => return self.continuation(stream, block, last),
            Frame::Data {
                stream,
                data,
                size,
                ends,
            } => self.data(stream, data, size, ends)?,
            Frame::Reset { stream } => {
                self.begun(stream)?;
                if let Some(stream) = self.streams.take(stream) {
                    self.close_stream(stream, false);
                }
            }
            Frame::Settings(settings) => {
                self.settled = true;
                self.settings(settings)?;
                self.sending.out.control(kind::SETTINGS, flag::ACK, 0, &[]);
            }
            Frame::Ping(opaque) => self.sending.out.control(kind::PING, flag::ACK, 0, &opaque),
            Frame::PingAck(opaque) => {
                if self.drain == Drain::Announced && opaque == DRAIN_PING {
                    self.drain = Drain::Final;
                    self.go_away(self.last, Code::NoError);
                }
            }
            Frame::GoAway => self.leaving = true,
            Frame::WindowUpdate { stream, increment } => self.widen(stream, increment)?,
            Frame::PriorityUpdate { stream, value } => self.prioritise(stream, value)?,
            Frame::SettingsAck | Frame::Ignored => {}
        }
        Ok(None)
    }

    fn continuation(
        &mut self,
        stream: u32,
        block: &[u8],
        last: bool,
    ) -> Result<Option<Asked>, Fault> {
        let Some(mut heading) = self.heading.take() else {
            return Err(Fault::Connection(Code::Protocol));
        };
        if heading.stream != stream {
            return Err(Fault::Connection(Code::Protocol));
        }
        heading.block.extend_from_slice(block);
        // More than any section within its limit takes: what it is can't be found out, so the
        // table it leaves is unknown.
        if heading.block.len() as u64 > 2 * self.bounds.sections.size {
            return Err(Fault::Connection(Code::EnhanceYourCalm));
        }
        if last {
            return self.section(stream, &heading.block, heading.ends);
        }
        self.heading = Some(heading);
        Ok(None)
    }

    /// Whether a stream has begun; those that have not may get none of the frames that ask (RFC
    /// 9113 §5.1).
    pub(super) fn begun(&self, stream: u32) -> Result<(), Fault> {
        if stream > self.last || stream.is_multiple_of(2) {
            return Err(Fault::Connection(Code::Protocol));
        }
        Ok(())
    }

    /// Takes over the client's settings (RFC 9113 §6.5.2).
    fn settings(&mut self, settings: &[u8]) -> Result<(), Fault> {
        for entry in settings.chunks_exact(6) {
            let [a, b, c, d, e, f] = *entry else { continue };
            let value = u32::from_be_bytes([c, d, e, f]);
            let protocol = Fault::Connection(Code::Protocol);
            match u16::from_be_bytes([a, b]) {
                setting::ENABLE_PUSH | setting::NO_RFC7540_PRIORITIES if value > 1 => {
                    return Err(protocol);
                }
                setting::MAX_FRAME_SIZE if !(PAYLOAD as u32..1 << 24).contains(&value) => {
                    return Err(protocol);
                }
                setting::INITIAL_WINDOW_SIZE => self.set_initial(value)?,
                // Our encoder keeps no table, our frames are of the least size everybody takes, and
                // we push nothing.
                _ => {}
            }
        }
        Ok(())
    }

    /// Changes what the client takes of each body (RFC 9113 §6.9.2).
    fn set_initial(&mut self, value: u32) -> Result<(), Fault> {
        let overflow = Fault::Connection(Code::FlowControl);
        if value > MAX_31 {
            return Err(overflow);
        }
        let change = i64::from(value) - self.sending.initial;
        self.sending.initial = value.into();
        for stream in self.streams.iter_mut() {
            stream.window += change;
            if stream.window > MAX_31.into() {
                return Err(overflow);
            }
            if stream.answer.is_some() && stream.window > 0 {
                self.sending.ready.push(stream, false);
            }
        }
        Ok(())
    }

    /// The client takes more (RFC 9113 §6.9).
    fn widen(&mut self, stream: u32, increment: u32) -> Result<(), Fault> {
        if stream == 0 {
            if increment == 0 {
                return Err(Fault::Connection(Code::Protocol));
            }
            self.sending.window += i64::from(increment);
            if self.sending.window > MAX_31.into() {
                return Err(Fault::Connection(Code::FlowControl));
            }
            return Ok(());
        }
        self.begun(stream)?;
        if increment == 0 {
            return Err(Fault::Stream(stream, Code::Protocol));
        }
        if let Some(stream) = self.streams.get(stream) {
            stream.window += i64::from(increment);
            if stream.window > MAX_31.into() {
                return Err(Fault::Stream(stream.id, Code::FlowControl));
            }
            if stream.answer.is_some() && stream.window > 0 {
                self.sending.ready.push(stream, false);
            }
        }
        Ok(())
    }

    /// The client has changed its mind about a request's priority, or foretells one's (RFC 9218
    /// §7.1).
    fn prioritise(&mut self, id: u32, value: &[u8]) -> Result<(), Fault> {
        if id.is_multiple_of(2) {
            return Err(Fault::Connection(Code::Protocol));
        }
        let priority = Priority::parse(value);
        if id > self.last {
            self.foretold.retain(|(known, _)| *known != id);
            if self.foretold.len() == FORETOLD {
                self.foretold.remove(0);
            }
            self.foretold.push((id, priority));
        } else if let Some(stream) = self.streams.get(id) {
            let queued = stream.queued;
            self.sending.ready.remove(stream);
            stream.priority = priority;
            if queued {
                self.sending.ready.push(stream, false);
            }
        }
        Ok(())
    }

    /// The priority a request was foretold to have.
    pub(super) fn foretold(&mut self, id: u32) -> Option<Priority> {
        if self.foretold.is_empty() {
            return None;
        }
        let found = self.foretold.iter().find(|(known, _)| *known == id);
        let priority = found.map(|(_, priority)| *priority);
        self.foretold.retain(|(known, _)| *known > id);
        priority
    }

    /// Gives bytes back to the window of all bodies, in steps that are worth a frame.
    pub(super) fn owe(&mut self, bytes: u32) {
        self.owed += bytes;
        if self.owed >= CONNECTION_WINDOW / 2 {
            let owed = std::mem::take(&mut self.owed);
            self.window += i64::from(owed);
            self.sending.out.window(0, owed);
        }
    }

    /// A stream is over.
    pub(super) fn close_stream(&mut self, mut stream: Box<Stream>, reset: bool) {
        self.recent.note(stream.id, reset);
        self.sending.ready.remove(&mut stream);
        if stream.receiving.held > 0 {
            self.owe(stream.receiving.held);
        }
    }

    /// Something is wrong (RFC 9113 §5.4).
    fn fail(&mut self, fault: Fault, now: Instant) {
        let (id, code) = match fault {
            Fault::Stream(id, code) if id <= self.last => (id, code),
            Fault::Connection(code) | Fault::Stream(_, code) => return self.close(code),
        };
        if !self.faults.spend(1.0, || now) {
            return self.close(Code::EnhanceYourCalm);
        }
        if let Some(stream) = self.streams.take(id) {
            self.reset(stream, code);
        } else if self.recent.was_reset(id) != Some(true) {
            self.sending.out.reset(id, code);
            self.recent.note(id, true);
        }
    }

    /// Ends a stream, telling the client so.
    pub(super) fn reset(&mut self, stream: Box<Stream>, code: Code) {
        self.sending.out.reset(stream.id, code);
        self.close_stream(stream, true);
    }

    fn go_away(&mut self, last: u32, code: Code) {
        self.promised = self.promised.min(last);
        let [a, b, c, d] = self.promised.to_be_bytes();
        let [e, f, g, h] = (code as u32).to_be_bytes();
        let out = &mut self.sending.out;
        out.control(kind::GOAWAY, 0, 0, &[a, b, c, d, e, f, g, h]);
    }

    /// Ends the connection: whatever is under way is lost.
    pub(super) fn close(&mut self, code: Code) {
        if self.closing.is_none() {
            self.closing = Some(code);
            self.go_away(self.last, code);
            self.streams.clear();
            self.sending.ready = Default::default();
        }
    }

    /// Begins to end the connection so that no request is lost: the client is told, and once its
    /// answer shows that it knows, requests after those that came are not taken (RFC 9113 §6.8).
    pub(super) fn drain(&mut self) {
        if self.drain == Drain::No && self.closing.is_none() {
            self.drain = Drain::Announced;
            self.go_away(MAX_31, Code::NoError);
            self.sending.out.control(kind::PING, 0, 0, &DRAIN_PING);
        }
    }

    /// Whether output must leave before more is read.
    pub(super) fn is_full(&self) -> bool {
        self.sending.out.len() >= HIGH
    }

    /// Whether requests are taken.
    pub(super) fn takes_requests(&self) -> bool {
        self.drain != Drain::Final
    }

    /// Whether nothing is left to be done but to write what waits.
    pub(super) fn is_over(&self) -> bool {
        self.closing.is_some()
            || (self.streams.is_empty() && (self.drain == Drain::Final || self.leaving))
    }
}
