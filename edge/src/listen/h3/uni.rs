//! A client's unidirectional streams: control and QPACK's two (RFC 9114 §6.2, RFC 9204 §4.2). No
//! I/O. They ask nothing of us, so all they can do is break a rule.

use bytes::Buf;

use super::{
    error::{Code, Fault},
    frame::{Input, Taken, get_varint, kind},
};
use crate::config::Limits;

/// Stream types.
pub(super) mod kinds {
    pub(crate) const CONTROL: u64 = 0x0;
    pub(crate) const PUSH: u64 = 0x1;
    pub(crate) const QPACK_ENCODER: u64 = 0x2;
    pub(crate) const QPACK_DECODER: u64 = 0x3;
}

/// Settings (RFC 9114 §7.2.4.1, RFC 9204 §5).
pub(super) mod setting {
    pub(crate) const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
    pub(crate) const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
    pub(crate) const QPACK_BLOCKED_STREAMS: u64 = 0x7;
    /// HTTP/2's, which must not appear.
    pub(crate) const RESERVED: std::ops::RangeInclusive<u64> = 0x2..=0x5;
}

/// Control bytes each request allows on top: `PRIORITY_UPDATE` and QPACK cancellations.
const CONTROL_PER_REQUEST: u64 = 128;

/// Where in its stream a client is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the stream's type.
    Kind,
    /// Control stream, before SETTINGS.
    First,
    /// In SETTINGS of that length.
    Settings(u64),
    /// Control stream, between frames.
    Frames,
    /// In a frame that doesn't matter, of which that much is left.
    Skip(u64),
    /// QPACK encoder stream.
    Encoder,
    /// QPACK decoder stream; whether an integer is under way.
    Decoder { inside: bool },
}

/// What a stream is to the connection after it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its type, or SETTINGS, is still to come: it may not take its time.
    Awaited,
    /// It lives as long as the connection.
    Critical,
    /// Of a type we don't know: to be stopped (RFC 9114 §6.2).
    Unknown,
    /// Ended before it had a type.
    Over,
}

/// Critical streams the client has opened, by type.
#[derive(Debug, Default)]
pub(super) struct Critical([bool; 4]);

/// One unidirectional stream.
#[derive(Debug)]
pub(super) struct Uni {
    input: Input,
    state: State,
    /// Requests of the connection that were paid for.
    paid: u64,
    max_settings: u64,
}

impl Uni {
    /// A stream of which nothing has arrived.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            input: Input::new(limits.h3_control),
            state: State::Kind,
            paid: 0,
            max_settings: limits.h3_control,
        }
    }

    /// Whether it is the control stream.
    pub(super) fn is_control(&self) -> bool {
        !matches!(
            self.state,
            State::Kind | State::Encoder | State::Decoder { .. }
        )
    }

    /// Takes bytes that arrived.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.feed(bytes);
    }

    /// The stream ends after what has arrived.
    pub(super) fn finish(&mut self) {
        self.input.finish();
    }

    /// Reads all that has arrived. `requests` the connection has had in all.
    ///
    /// # Errors
    /// [`Fault`]: the connection is lost.
    pub(super) fn advance(
        &mut self,
        critical: &mut Critical,
        requests: u64,
    ) -> Result<Standing, Fault> {
        loop {
            let more = match self.state {
                State::Kind => match self.input.varint() {
                    Ok(Taken::Got(kind)) => match self.identify(kind, critical)? {
                        Some(standing) => return Ok(standing),
                        None => true,
                    },
                    Ok(Taken::More) => return Ok(Standing::Awaited),
                    // A stream may end before it has a type (RFC 9114 §6.2).
                    Ok(Taken::End) | Err(_) => return Ok(Standing::Over),
                },
                State::First => match self.input.header()? {
                    Taken::Got((kind::SETTINGS, length)) if length <= self.max_settings => {
                        self.state = State::Settings(length);
                        true
                    }
                    Taken::Got((kind::SETTINGS, _)) => {
                        return Err(Fault::Connection(Code::ExcessiveLoad));
                    }
                    Taken::Got(_) => return Err(Fault::Connection(Code::MissingSettings)),
                    Taken::More => return Ok(Standing::Awaited),
                    Taken::End => return Err(Fault::Connection(Code::ClosedCriticalStream)),
                },
                State::Settings(length) => match self.input.payload(length)? {
                    Taken::Got(settings) => {
                        check_settings(&settings)?;
                        self.state = State::Frames;
                        true
                    }
                    Taken::More | Taken::End => return Ok(Standing::Awaited),
                },
                State::Frames => self.frame(requests)?,
                State::Skip(mut left) => {
                    let done = self.input.skip(&mut left)?;
                    self.state = if done {
                        State::Frames
                    } else {
                        State::Skip(left)
                    };
                    done
                }
                State::Encoder => self.encoder()?,
                State::Decoder { inside } => self.decoder(inside, requests)?,
            };
            if !more {
                return if self.input.at_end() {
                    // These streams live as long as the connection (RFC 9114 §6.2.1).
                    Err(Fault::Connection(Code::ClosedCriticalStream))
                } else {
                    Ok(Standing::Critical)
                };
            }
        }
    }

    /// The stream's type is known. Something where nothing more is to be read.
    fn identify(&mut self, kind: u64, critical: &mut Critical) -> Result<Option<Standing>, Fault> {
        self.state = match kind {
            kinds::PUSH => return Err(Fault::Connection(Code::StreamCreation)),
            kinds::CONTROL => State::First,
            kinds::QPACK_ENCODER => State::Encoder,
            kinds::QPACK_DECODER => State::Decoder { inside: false },
            _ => return Ok(Some(Standing::Unknown)),
        };
        if std::mem::replace(&mut critical.0[kind as usize], true) {
            return Err(Fault::Connection(Code::StreamCreation));
        }
        Ok(None)
    }

    /// What requests have earned since this was last asked.
    fn earn(&mut self, requests: u64) {
        let fresh = requests.saturating_sub(self.paid);
        self.paid = requests;
        self.input.allow(fresh * CONTROL_PER_REQUEST);
    }

    /// A frame on the control stream; false where none is complete.
    fn frame(&mut self, requests: u64) -> Result<bool, Fault> {
        self.earn(requests);
        match self.input.header()? {
            Taken::More | Taken::End => Ok(false),
            Taken::Got((kind::SETTINGS | kind::DATA | kind::HEADERS | kind::PUSH_PROMISE, _)) => {
                Err(Fault::Connection(Code::FrameUnexpected))
            }
            Taken::Got((kind, _)) if kind::RESERVED.contains(&kind) => {
                Err(Fault::Connection(Code::FrameUnexpected))
            }
            Taken::Got((_, length)) => {
                self.state = State::Skip(length);
                Ok(true)
            }
        }
    }

    /// The QPACK encoder stream: with no table, only setting its capacity to 0 is allowed (RFC
    /// 9204 §4.3.1).
    fn encoder(&mut self) -> Result<bool, Fault> {
        match self.input.byte()? {
            Taken::Got(0x20) => Ok(true),
            Taken::Got(_) => Err(Fault::Connection(Code::QpackEncoderStream)),
            Taken::More | Taken::End => Ok(false),
        }
    }

    /// The QPACK decoder stream: since we insert nothing, only stream cancellations make sense
    /// (RFC 9204 §4.4.2).
    fn decoder(&mut self, inside: bool, requests: u64) -> Result<bool, Fault> {
        self.earn(requests);
        match self.input.byte()? {
            Taken::Got(byte) if inside => {
                self.state = State::Decoder {
                    inside: byte & 0x80 != 0,
                };
                Ok(true)
            }
            Taken::Got(first) if first & 0xc0 == 0x40 => {
                self.state = State::Decoder {
                    inside: first & 0x3f == 0x3f,
                };
                Ok(true)
            }
            Taken::Got(_) => Err(Fault::Connection(Code::QpackDecoderStream)),
            Taken::More | Taken::End => Ok(false),
        }
    }
}

/// Checks a SETTINGS payload (RFC 9114 §7.2.4).
fn check_settings(payload: &[u8]) -> Result<(), Fault> {
    let mut rest = payload;
    let mut seen = Vec::new();
    while rest.has_remaining() {
        let (Some(id), Some(_)) = (get_varint(&mut rest), get_varint(&mut rest)) else {
            return Err(Fault::Connection(Code::Frame));
        };
        if setting::RESERVED.contains(&id) || seen.contains(&id) {
            return Err(Fault::Connection(Code::Settings));
        }
        // Nobody has this many settings, and the search is quadratic.
        if seen.len() == 64 {
            return Err(Fault::Connection(Code::ExcessiveLoad));
        }
        seen.push(id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let check = |payload: &[u8], result: Result<(), Code>| {
            assert_eq!(
                check_settings(payload),
                result.map_err(Fault::Connection),
                "{payload:02x?}"
            );
        };
        check(&[], Ok(()));
        check(&[1, 0, 7, 0, 6, 0x44, 0], Ok(()));
        check(&[1, 0, 1, 0], Err(Code::Settings));
        check(&[2, 0], Err(Code::Settings));
        check(&[1], Err(Code::Frame));
        check(&[6, 0x44], Err(Code::Frame));
    }
}
