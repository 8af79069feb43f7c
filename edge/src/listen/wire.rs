//! The byte stream of one TCP connection, in the clear or under TLS, as HTTP/1.1 and HTTP/2 read and
//! write it.
//!
//! Writes are gathered: what is handed over while a connection's future is polled leaves in as few
//! TLS records and system calls as possible when [`Wire::flush`] is called after the poll. Full records
//! are encrypted straight from the body; what doesn't fill a record is copied only where more follows.

use std::{
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{guard::Guard, vitals::Vitals};
use crate::metrics::Cut;

/// Plaintext of a full TLS record (RFC 8446 §5.1).
const RECORD: usize = 16_384;

/// Ciphertext that may wait in us for the socket while it takes everything: one 64 KiB response
/// and its head leave in one call.
const BURST: usize = 96 << 10;

/// The same after the socket had to be waited for, so that slow readers pin little.
const BURST_SLOW: usize = 16 << 10;

/// A connection's bytes; a handle that its protocol and its task share.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Plaintext that doesn't fill a record yet.
    staged: Vec<u8>,
    /// Ciphertext waiting in `tls`, by our count of what went in and out; for `burst`.
    waiting: usize,
    /// Allowed `waiting`.
    burst: usize,
    /// Bytes read while the protocol was being found out.
    prefix: Vec<u8>,
    guard: Option<Guard>,
    vitals: Arc<Vitals>,
}

impl Wire {
    /// Over a connection in the clear of which `prefix` was read already.
    pub(crate) fn clear(
        tcp: TcpStream,
        prefix: Vec<u8>,
        vitals: Arc<Vitals>,
        guard: Option<Guard>,
    ) -> Self {
        Self::new(tcp, None, prefix, vitals, guard)
    }

    /// Over a connection whose TLS handshake is complete.
    pub(crate) fn tls(
        tcp: TcpStream,
        tls: Box<ServerConnection>,
        vitals: Arc<Vitals>,
        guard: Option<Guard>,
    ) -> Self {
        Self::new(tcp, Some(tls), Vec::new(), vitals, guard)
    }

    fn new(
        tcp: TcpStream,
        tls: Option<Box<ServerConnection>>,
        prefix: Vec<u8>,
        vitals: Arc<Vitals>,
        mut guard: Option<Guard>,
    ) -> Self {
        if !prefix.is_empty() {
            vitals.read(prefix.len());
            if let Some(guard) = &mut guard {
                // So few bytes can't exceed a budget.
                let _ = guard.read(&prefix);
            }
        }
        let inner = Inner {
            tcp,
            tls,
            staged: Vec::new(),
            waiting: 0,
            burst: BURST,
            prefix,
            guard,
            vitals,
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Why the guard refused the connection, if it did.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.0.lock().guard.as_ref().and_then(Guard::cut)
    }

    /// Has the connection reset when it is dropped: the kernel would hold what a client doesn't read
    /// for minutes after a close.
    pub(crate) fn abort(&self) {
        let _ = SockRef::from(&self.0.lock().tcp).set_linger(Some(Duration::ZERO));
    }

    /// Reads what the client has sent, up to the length of `buf`; 0 at its end.
    ///
    /// # Errors
    /// Where the connection failed, or must be cut off: [`Wire::cut`] says why.
    pub(crate) fn receive(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.lock();
        if !inner.prefix.is_empty() {
            // The guard has seen it.
            let n = inner.prefix.len().min(buf.len());
            buf[..n].copy_from_slice(&inner.prefix[..n]);
            inner.prefix.drain(..n);
            if inner.prefix.is_empty() {
                inner.prefix = Vec::new();
            }
            return Poll::Ready(Ok(n));
        }
        let n = ready!(inner.receive(cx, buf))?;
        if let Some(guard) = &mut inner.guard {
            guard.read(&buf[..n])?;
        }
        inner.note(n);
        Poll::Ready(Ok(n))
    }

    /// Takes what is to be written, as far as it has room; `more` where something follows at once. Call
    /// [`Wire::flush`] after the last.
    pub(crate) fn send(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        self.0.lock().send(cx, bufs, more)
    }

    /// Ends our side, with what was gathered before.
    pub(crate) fn shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().shutdown(cx)
    }

    /// Sends what is gathered. Call after each poll of the connection.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().flush(cx)
    }
}

impl Inner {
    /// Notes signs of life.
    fn note(&self, read: usize) {
        self.vitals.read(read);
        if let Some(guard) = &self.guard {
            self.vitals.heading(guard.heading());
        }
    }

    /// Reads plaintext.
    fn receive(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.tls.is_some() {
            return self.read_tls(cx, buf);
        }
        let mut read = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        if self.tls.is_some() {
            return self.write_tls(cx, bufs, more);
        }
        let n = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs))?;
        self.wrote(n);
        Poll::Ready(Ok(n))
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.flush(cx))?;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            ready!(self.drain(cx))?;
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// Encrypts the staged rest and writes until nothing waits.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else {
            return Poll::Ready(Ok(()));
        };
        if !self.staged.is_empty() {
            self.waiting += self.staged.len();
            tls.writer().write_all(&self.staged)?;
            self.staged = Vec::new();
        }
        self.drain(cx)
    }

    /// Writes ciphertext until none waits.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else {
            return Poll::Ready(Ok(()));
        };
        while tls.wants_write() {
            match tls.write_tls(&mut Blocking {
                tcp: &mut self.tcp,
                cx,
            }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.waiting = self.waiting.saturating_sub(n);
                    self.vitals.wrote(n);
                    if let Some(guard) = &mut self.guard {
                        guard.wrote(n);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.burst = BURST_SLOW;
                    return Poll::Pending;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        self.waiting = 0;
        self.burst = (self.burst * 2).min(BURST);
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, bytes: usize) {
        self.vitals.wrote(bytes);
        if let Some(guard) = &mut self.guard {
            guard.wrote(bytes);
        }
    }

    /// Takes plaintext: whole records are encrypted, and the rest where no more follows; else it is
    /// staged.
    fn write_tls(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        if self.waiting >= self.burst {
            ready!(self.drain(cx))?;
        }
        let total = bufs.iter().map(|b| b.len()).sum::<usize>();
        let offered = total.min(self.burst.max(RECORD));
        let all = self.staged.len() + offered;
        let whole = if more || offered < total {
            all / RECORD * RECORD
        } else {
            all
        };
        let Some(tls) = &mut self.tls else {
            return Poll::Ready(Ok(0));
        };
        // Of what is offered, `direct` bytes leave now together with the staged ones.
        let direct = whole.saturating_sub(self.staged.len());
        if whole > 0 {
            let written = if self.staged.is_empty() && direct == total {
                tls.writer().write_vectored(bufs)?
            } else {
                let mut slices = Vec::with_capacity(bufs.len() + 1);
                slices.push(IoSlice::new(&self.staged));
                let mut left = direct;
                for buf in bufs {
                    let part = &buf[..buf.len().min(left)];
                    left -= part.len();
                    if !part.is_empty() {
                        slices.push(IoSlice::new(part));
                    }
                }
                tls.writer().write_vectored(&slices)?
            };
            debug_assert_eq!(written, whole, "rustls has no buffer limit here");
            self.waiting += whole;
            self.staged.clear();
        }
        let mut skip = direct;
        let mut rest = offered - direct;
        for buf in bufs {
            let from = skip.min(buf.len());
            skip -= from;
            let part = &buf[from..][..(buf.len() - from).min(rest)];
            rest -= part.len();
            self.staged.extend_from_slice(part);
        }
        Poll::Ready(Ok(offered))
    }

    fn read_tls(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(tls) = &mut self.tls else {
            return Poll::Ready(Ok(0));
        };
        loop {
            match tls.reader().read(buf) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // A client that closes without close_notify: HTTP framing tells truncation.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                Err(e) => return Poll::Ready(Err(e)),
            }
            match tls.read_tls(&mut Blocking {
                tcp: &mut self.tcp,
                cx,
            }) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(e) => return Poll::Ready(Err(e)),
            }
            if let Err(e) = tls.process_new_packets() {
                // Tell the client why, if the socket takes it at once.
                let _ = self.drain(cx);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, e)));
            }
        }
    }
}

/// A socket as rustls wants it: blocking calls that may answer `WouldBlock`, the task woken when it
/// is worth trying again.
pub(crate) struct Blocking<'a, 'b> {
    pub(crate) tcp: &'a mut TcpStream,
    pub(crate) cx: &'a mut Context<'b>,
}

impl Read for Blocking<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.tcp).poll_read(self.cx, &mut buf) {
            Poll::Ready(result) => result.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Blocking<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.tcp).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocking(poll: Poll<io::Result<usize>>) -> io::Result<usize> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
