//! One HTTP/3 connection: its control streams, its requests, its end.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use tokio_util::task::TaskTracker;

use super::{
    error::{Code, Fault},
    frame::{Reader, get_varint, kind, put_varint},
    request,
};
use crate::{
    exchange::{Protocol, Service},
    listen::Shared,
    metrics::Cut,
};

/// Stream types (RFC 9114 §6.2, RFC 9204 §4.2).
mod stream {
    pub(super) const CONTROL: u64 = 0x0;
    pub(super) const PUSH: u64 = 0x1;
    pub(super) const QPACK_ENCODER: u64 = 0x2;
    pub(super) const QPACK_DECODER: u64 = 0x3;
}

/// Settings (RFC 9114 §7.2.4.1, RFC 9204 §5).
mod setting {
    pub(super) const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
    pub(super) const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
    pub(super) const QPACK_BLOCKED_STREAMS: u64 = 0x7;
    /// HTTP/2's, which must not appear.
    pub(super) const RESERVED: std::ops::RangeInclusive<u64> = 0x2..=0x5;
}

/// Control bytes each request allows on top: `PRIORITY_UPDATE` and QPACK cancellations.
const CONTROL_PER_REQUEST: u64 = 128;

/// What the streams of one connection share.
struct State<S> {
    shared: Arc<Shared<S>>,
    quic: Connection,
    peer: SocketAddr,
    /// Requests since the connection began.
    requests: AtomicU64,
    /// Critical streams the client has opened, by type.
    critical: Mutex<[bool; 4]>,
}

/// Serves a connection to its end.
pub(super) async fn serve<S: Service>(shared: Arc<Shared<S>>, quic: Connection) {
    shared.observer.metrics.connection_opened(Protocol::H3);
    let peer = quic.remote_address();
    let state = Arc::new(State {
        shared: Arc::clone(&shared),
        peer,
        requests: AtomicU64::new(0),
        critical: Mutex::default(),
        quic,
    });
    // Kept to the end: closing the control stream closes the connection.
    let control = match open_control(&state).await {
        Ok(control) => control,
        Err(_) => return shared.observer.metrics.connection_closed(Protocol::H3),
    };
    accept(&state, control).await;
    shared.observer.metrics.connection_closed(Protocol::H3);
}

/// Opens our control stream and sends SETTINGS.
async fn open_control<S>(state: &State<S>) -> Result<SendStream, Fault> {
    let mut control = state.quic.open_uni().await.map_err(|_| Fault::Gone)?;
    let mut settings = BytesMut::new();
    for (id, value) in [
        (setting::QPACK_MAX_TABLE_CAPACITY, 0),
        (
            setting::MAX_FIELD_SECTION_SIZE,
            state.shared.limits.header_size,
        ),
        (setting::QPACK_BLOCKED_STREAMS, 0),
    ] {
        put_varint(&mut settings, id);
        put_varint(&mut settings, value);
    }
    let mut out = BytesMut::new();
    put_varint(&mut out, stream::CONTROL);
    put_varint(&mut out, kind::SETTINGS);
    put_varint(&mut out, settings.len() as u64);
    out.extend_from_slice(&settings);
    control
        .write_chunk(out.freeze())
        .await
        .map_err(|_| Fault::Gone)?;
    Ok(control)
}

/// Accepts streams until the client leaves, breaks a rule, idles, or a drain ends.
async fn accept<S: Service>(state: &Arc<State<S>>, mut control: SendStream) {
    let shared = &state.shared;
    let requests = TaskTracker::new();
    let mut idle = pin!(tokio::time::sleep(shared.limits.idle));
    let mut served = 0;
    loop {
        tokio::select! {
            accepted = state.quic.accept_bi() => {
                let Ok((send, recv)) = accepted else { break };
                state.requests.fetch_add(1, Relaxed);
                let theirs = Arc::clone(state);
                requests.spawn(async move {
                    let shared = Arc::clone(&theirs.shared);
                    if let Err(Fault::Connection(code)) = request::serve(shared, theirs.peer, send, recv).await {
                        theirs.close(code);
                    }
                });
            }
            accepted = state.quic.accept_uni() => {
                let Ok(recv) = accepted else { break };
                let theirs = Arc::clone(state);
                tokio::spawn(async move {
                    if let Err(Fault::Connection(code)) = theirs.unidirectional(recv).await {
                        theirs.close(code);
                    }
                });
            }
            () = &mut idle => {
                // Pings keep QUIC's own idle timer from ending connections that ask for nothing.
                let now = state.requests.load(Relaxed);
                if requests.is_empty() && now == served {
                    shared.observer.metrics.cut(Protocol::H3, Cut::Idle);
                    break;
                }
                served = now;
                idle.as_mut().reset(tokio::time::Instant::now() + shared.limits.idle);
            }
            () = shared.drain.cancelled() => {
                drain(state, &mut control, &requests).await;
                break;
            }
        }
    }
    state.close(Code::NoError);
}

/// Announces the end, lets requests under way finish, refuses new ones.
async fn drain<S: Service>(
    state: &Arc<State<S>>,
    control: &mut SendStream,
    requests: &TaskTracker,
) {
    let mut out = BytesMut::new();
    // Requests on streams from this one on are not processed (RFC 9114 §5.2). Client-initiated
    // bidirectional stream n has the id 4n.
    let first_refused = state.requests.load(Relaxed) * 4;
    let mut id = BytesMut::new();
    put_varint(&mut id, first_refused);
    put_varint(&mut out, kind::GOAWAY);
    put_varint(&mut out, id.len() as u64);
    out.extend_from_slice(&id);
    if control.write_chunk(out.freeze()).await.is_err() {
        return;
    }
    requests.close();
    let refuse = async {
        while let Ok((mut send, mut recv)) = state.quic.accept_bi().await {
            let _ = recv.stop(Code::RequestRejected.into());
            let _ = send.reset(Code::RequestRejected.into());
        }
    };
    tokio::select! {
        () = async {
            requests.wait().await;
            // What was written must arrive: wait for the client to close or for everything to be
            // acknowledged, which its silence shows.
            let patience = (state.quic.rtt() * 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
            tokio::time::sleep(patience).await;
        } => {}
        () = refuse => {}
    }
}

impl<S: Service> State<S> {
    fn close(&self, code: Code) {
        if code != Code::NoError && self.quic.close_reason().is_none() {
            let why = if code == Code::ExcessiveLoad {
                Cut::Limit
            } else {
                Cut::Protocol
            };
            self.shared.observer.metrics.cut(Protocol::H3, why);
        }
        self.quic.close(code.into(), b"");
    }

    /// Reads one of the client's unidirectional streams.
    async fn unidirectional(&self, recv: RecvStream) -> Result<(), Fault> {
        let limits = &self.shared.limits;
        let mut reader = Reader::new(recv, limits.h3_control);
        let kind = tokio::time::timeout(limits.header, reader.varint()).await;
        let kind = match kind {
            Ok(Ok(Some(kind))) => kind,
            Ok(Ok(None) | Err(Fault::Gone)) => return Ok(()),
            Ok(Err(fault)) => return Err(fault),
            Err(_) => {
                let _ = reader.stream().stop(Code::StreamCreation.into());
                return Ok(());
            }
        };
        match kind {
            stream::PUSH => Err(Fault::Connection(Code::StreamCreation)),
            stream::CONTROL | stream::QPACK_ENCODER | stream::QPACK_DECODER => {
                if std::mem::replace(&mut self.critical.lock()[kind as usize], true) {
                    return Err(Fault::Connection(Code::StreamCreation));
                }
                let ended = match kind {
                    stream::CONTROL => self.control(&mut reader).await,
                    stream::QPACK_ENCODER => self.encoder(&mut reader).await,
                    _ => self.decoder(&mut reader).await,
                };
                // These streams live as long as the connection (RFC 9114 §6.2.1).
                match ended {
                    Ok(()) | Err(Fault::Gone) if self.quic.close_reason().is_none() => {
                        Err(Fault::Connection(Code::ClosedCriticalStream))
                    }
                    ended => ended,
                }
            }
            _ => {
                let _ = reader.stream().stop(Code::StreamCreation.into());
                Ok(())
            }
        }
    }

    /// What requests have earned since `paid` of them.
    fn earned(&self, paid: &mut u64) -> u64 {
        let now = self.requests.load(Relaxed);
        let fresh = now.saturating_sub(*paid);
        *paid = now;
        fresh * CONTROL_PER_REQUEST
    }

    /// The client's control stream: SETTINGS first, then frames that ask nothing of us.
    async fn control(&self, reader: &mut Reader) -> Result<(), Fault> {
        let limits = &self.shared.limits;
        let first = tokio::time::timeout(limits.header, reader.header()).await;
        let Ok(first) = first else {
            return Err(Fault::Connection(Code::MissingSettings));
        };
        match first? {
            None => return Ok(()),
            Some((kind::SETTINGS, length)) if length <= limits.h3_control => {
                let settings = tokio::time::timeout(limits.header, reader.payload(length)).await;
                check_settings(&settings.map_err(|_| Fault::Connection(Code::MissingSettings))??)?;
            }
            Some((kind::SETTINGS, _)) => return Err(Fault::Connection(Code::ExcessiveLoad)),
            Some(_) => return Err(Fault::Connection(Code::MissingSettings)),
        }
        let mut paid = 0;
        while let Some((kind, length)) = reader.header().await? {
            reader.allow(self.earned(&mut paid));
            match kind {
                kind::SETTINGS | kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                    return Err(Fault::Connection(Code::FrameUnexpected));
                }
                kind if kind::RESERVED.contains(&kind) => {
                    return Err(Fault::Connection(Code::FrameUnexpected));
                }
                _ => reader.skip(length).await?,
            }
        }
        Ok(())
    }

    /// The client's QPACK encoder stream: with no table, only setting its capacity to 0 is allowed
    /// (RFC 9204 §4.3.1).
    async fn encoder(&self, reader: &mut Reader) -> Result<(), Fault> {
        while let Some(byte) = reader.byte().await? {
            if byte != 0x20 {
                return Err(Fault::Connection(Code::QpackEncoderStream));
            }
        }
        Ok(())
    }

    /// The client's QPACK decoder stream: since we insert nothing, only stream cancellations make
    /// sense (RFC 9204 §4.4.2).
    async fn decoder(&self, reader: &mut Reader) -> Result<(), Fault> {
        let mut paid = 0;
        while let Some(first) = reader.byte().await? {
            reader.allow(self.earned(&mut paid));
            if first & 0xc0 != 0x40 {
                return Err(Fault::Connection(Code::QpackDecoderStream));
            }
            let mut more = first & 0x3f == 0x3f;
            while more {
                let Some(byte) = reader.byte().await? else {
                    return Ok(());
                };
                more = byte & 0x80 != 0;
            }
        }
        Ok(())
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
