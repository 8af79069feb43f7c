//! A request's body as it comes in: its window, its announced length, its limit.

use super::error::Code;
use crate::{
    exchange::BodyError,
    listen::upload::{Sender, WINDOW},
};

/// A stream's receiving side.
pub(super) struct Receiving {
    /// Whether the client has not ended it.
    pub(super) open: bool,
    /// Left of the announced length.
    announced: Option<u64>,
    /// Left of what a body may have.
    allowed: u64,
    /// Bytes the client may still send.
    window: i64,
    /// Bytes that came and that the connection's window doesn't have back.
    pub(super) held: u32,
    /// Bytes to be given back with the next update of the window.
    owed: u32,
    /// Where the body goes.
    pub(super) upload: Option<Sender>,
}

impl Receiving {
    /// A request whose head was read; `open` where a body, or its end, is to come.
    pub(super) fn new(open: bool, announced: Option<u64>, allowed: u64) -> Self {
        Self {
            open,
            announced,
            allowed,
            window: WINDOW.into(),
            held: 0,
            owed: 0,
            upload: None,
        }
    }

    /// Takes a DATA frame whose payload has `size` bytes. Those that the connection's window has
    /// back at once.
    ///
    /// # Errors
    /// The code to reset the stream with.
    pub(super) fn data(&mut self, data: &[u8], size: u32, ends: bool) -> Result<u32, Code> {
        self.window -= i64::from(size);
        if self.window < 0 {
            return Err(Code::FlowControl);
        }
        let length = data.len() as u64;
        if let Some(left) = &mut self.announced {
            *left = left.checked_sub(length).ok_or(Code::Protocol)?;
        }
        let mut back = size;
        if let Some(upload) = &self.upload {
            match self.allowed.checked_sub(length) {
                Some(left) => {
                    self.allowed = left;
                    if upload.push(data) {
                        self.held += data.len() as u32;
                        back -= data.len() as u32;
                        self.owed += back;
                    }
                }
                None => upload.end(Err(BodyError::Client(
                    "the request's body is over its limit".into(),
                ))),
            }
        }
        if ends {
            self.end()?;
        }
        Ok(back)
    }

    /// The client's end.
    ///
    /// # Errors
    /// The code to reset the stream with: less came than was announced.
    pub(super) fn end(&mut self) -> Result<(), Code> {
        self.open = false;
        if self.announced.is_some_and(|left| left > 0) {
            return Err(Code::Protocol);
        }
        if let Some(upload) = self.upload.take() {
            upload.end(Ok(()));
        }
        Ok(())
    }

    /// What the stream's window has back though nothing was read: padding, in steps that are worth
    /// a frame.
    pub(super) fn padding(&mut self) -> Option<u32> {
        let worth = self.open && self.owed >= WINDOW / 4;
        worth.then(|| {
            let owed = std::mem::take(&mut self.owed);
            self.window += i64::from(owed);
            owed
        })
    }

    /// Takes over what was read: what the stream's and what the connection's window have back.
    pub(super) fn claim(&mut self) -> (u32, u32) {
        let read = self.upload.as_ref().map_or(0, Sender::claim).min(self.held);
        self.held -= read;
        let update = read + std::mem::take(&mut self.owed);
        self.window += i64::from(update);
        (update, read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{pin::Pin, sync::Arc, task::Context};

    use http_body::Body as _;

    use super::*;
    use crate::{config::Limits, listen::upload};

    #[test]
    fn windows_grow_by_what_is_read() {
        let mut receiving = Receiving::new(true, None, 1 << 20);
        let (sender, mut reader) = upload::channel(&Arc::default(), 1, &Limits::default());
        receiving.upload = Some(sender);
        let frame = [0; 16 << 10];
        for _ in 0..4 {
            // Three bytes are padding.
            assert_eq!(receiving.data(&frame[3..], 16 << 10, false), Ok(3));
        }
        assert_eq!(
            receiving.data(&frame, 16 << 10, false),
            Err(Code::FlowControl)
        );
        assert_eq!(receiving.held, 65_524);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let read = Pin::new(&mut reader).poll_frame(&mut cx);
        assert!(
            matches!(read, std::task::Poll::Ready(Some(Ok(frame))) if frame.data_ref().unwrap().len() == 65_524)
        );
        assert_eq!(receiving.claim(), (65_536, 65_524));
        assert_eq!(receiving.held, 0);
    }

    #[test]
    fn padding_alone_does_not_use_a_window_up() {
        let mut receiving = Receiving::new(true, None, 1 << 20);
        let (sender, _reader) = upload::channel(&Arc::default(), 1, &Limits::default());
        receiving.upload = Some(sender);
        for _ in 0..10_000 {
            assert_eq!(receiving.data(&[], 256, false), Ok(256));
            let _ = receiving.padding();
        }
    }

    #[test]
    fn lengths_are_kept() {
        let check = |announced, data: &[u8], ends, expected| {
            let mut receiving = Receiving::new(true, announced, 1 << 20);
            let size = data.len() as u32;
            assert_eq!(receiving.data(data, size, ends).err(), expected, "{data:?}");
        };
        check(Some(3), b"abc", true, None);
        check(Some(3), b"abcd", false, Some(Code::Protocol));
        check(Some(3), b"ab", true, Some(Code::Protocol));
        check(Some(3), b"ab", false, None);
    }
}
