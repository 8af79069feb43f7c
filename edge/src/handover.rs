//! An upgrade in place: one process hands its listening sockets to the next, over a Unix socket
//! between the two. No client notices on TCP, since the sockets never close.
//!
//! ```text
//! old                                        new
//!  │ sockets ────────────────────────────────▶│  checks its configuration, takes them
//!  │◀───────────────────────────────── prepared│
//!  │ closes the disk tier; takes no purges     │
//!  │ released ───────────────────────────────▶│  opens the disk tier, replays the purge log
//!  │◀──────────────────────────────────── ready│
//!  │ leaves HTTP/3 and the admin listener      │
//!  │ yours ──────────────────────────────────▶│  accepts
//!  │ drains                                    │
//!  │◀────────── purges, until the old one ends │
//! ```
//!
//! Whatever goes wrong before `ready` leaves the old process as it was, but for its disk tier.

use std::{
    io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// Sockets handed over at most (`SCM_MAX_FD` is 253).
const SOCKETS_MAX: usize = 200;

/// Longest line between the two.
const LINE_MAX: usize = 16 << 10;

/// How long the new process may take to read its configuration.
const PREPARING: Duration = Duration::from_secs(30);

/// How long a tier of any size may take to close or open.
const OPENING: Duration = Duration::from_secs(120);

/// How long the old process may take to put a purge in force.
const PURGING: Duration = Duration::from_secs(2);

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Plaintext, TCP.
    Http,
    /// TLS, TCP.
    Https,
    /// QUIC, UDP.
    Quic,
    /// The admin listener, TCP.
    Admin,
}

/// Why an upgrade did not happen; the old process goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another one, or a drain, is under way.
    #[error("an upgrade or a drain is under way")]
    UnderWay,
    /// The new process ended, or said something unexpected.
    #[error("the new process did not get as far as `{0}`; its log says why")]
    Ended(&'static str),
    /// The socket between the two failed.
    #[error("handing over: {0}")]
    Io(#[from] io::Error),
}

/// Sockets by what they are for.
#[derive(Debug, Default)]
pub(crate) struct Handed(pub(crate) Vec<(Role, OwnedFd)>);

impl Handed {
    /// Adds one socket's descriptor, duplicated.
    pub(crate) fn add(&mut self, role: Role, socket: &impl AsFd) -> io::Result<()> {
        self.0.push((role, socket.as_fd().try_clone_to_owned()?));
        Ok(())
    }

    /// Takes the TCP listeners of a role out that listen on that address; port 0 is any.
    pub(crate) fn tcp(&mut self, role: Role, at: SocketAddr) -> io::Result<Vec<TcpListener>> {
        let mut taken = Vec::new();
        for socket in self.take(role) {
            let listener = TcpListener::from(socket);
            if fits(at, listener.local_addr()?) {
                taken.push(listener);
            } else {
                self.0.push((role, listener.into()));
            }
        }
        Ok(taken)
    }

    /// The same for UDP.
    pub(crate) fn udp(&mut self, role: Role, at: SocketAddr) -> io::Result<Vec<UdpSocket>> {
        let mut taken = Vec::new();
        for socket in self.take(role) {
            let socket = UdpSocket::from(socket);
            if fits(at, socket.local_addr()?) {
                taken.push(socket);
            } else {
                self.0.push((role, socket.into()));
            }
        }
        Ok(taken)
    }

    /// The addresses of what nobody has taken.
    pub(crate) fn left(self) -> Vec<SocketAddr> {
        let sockets = self.0.into_iter();
        sockets
            .filter_map(|(_, socket)| TcpListener::from(socket).local_addr().ok())
            .collect()
    }

    fn take(&mut self, role: Role) -> Vec<OwnedFd> {
        let taken = self.0.extract_if(.., |(of, _)| *of == role);
        taken.map(|(_, socket)| socket).collect()
    }
}

/// Whether a socket that listens on `bound` serves a configuration that says `at`.
fn fits(at: SocketAddr, bound: SocketAddr) -> bool {
    at.ip() == bound.ip() && (at.port() == 0 || at.port() == bound.port())
}

/// What a new process gets from the one before it; nothing where it is the first.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(crate) handed: Handed,
    pub(crate) line: Option<Line>,
}

/// A socket that somebody else has bound, and listens on where it is TCP.
#[derive(Debug)]
pub enum Bound {
    /// A listener.
    Tcp(TcpListener),
    /// A socket of datagrams.
    Udp(UdpSocket),
}

impl Inherited {
    /// Takes sockets that a service manager has bound, by their names: `http`, `https` (TCP and UDP)
    /// or `admin`.
    ///
    /// # Errors
    /// Where a socket has another name, or can't be set up.
    pub fn bound(sockets: impl IntoIterator<Item = (String, Bound)>) -> io::Result<Self> {
        let mut handed = Handed::default();
        for (name, socket) in sockets {
            let role = match (name.as_str(), &socket) {
                ("http", Bound::Tcp(_)) => Role::Http,
                ("https", Bound::Tcp(_)) => Role::Https,
                ("https", Bound::Udp(_)) => Role::Quic,
                ("admin", Bound::Tcp(_)) => Role::Admin,
                _ => {
                    let why = format!("no socket may be called `{name}`: http, https or admin");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
            };
            match &socket {
                Bound::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    handed.add(role, listener)?;
                }
                Bound::Udp(socket) => {
                    socket.set_nonblocking(true)?;
                    handed.add(role, socket)?;
                }
            }
        }
        Ok(Self { handed, line: None })
    }

    /// Takes the sockets that the process at the other end hands over. Blocks.
    ///
    /// # Errors
    /// Where the other end does not hand over, or what came can't be read.
    pub fn receive(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PREPARING))?;
        let mut text = vec![0; LINE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &stream,
            &mut [IoSliceMut::new(&mut text)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                sockets.extend(fds);
            }
        }
        let roles: Vec<Role> = serde_json::from_slice(&text[..got.bytes])?;
        if roles.len() != sockets.len() {
            return Err(io::Error::other("sockets were lost on the way"));
        }
        Ok(Self {
            handed: Handed(roles.into_iter().zip(sockets).collect()),
            line: Some(Line::new(stream)),
        })
    }
}

/// Sends the sockets, as the first thing on the line.
pub(crate) fn send(stream: &UnixStream, handed: &Handed) -> io::Result<()> {
    let sockets = handed.0.get(..handed.0.len().min(SOCKETS_MAX));
    let sockets = sockets.unwrap_or_default();
    let roles: Vec<Role> = sockets.iter().map(|(role, _)| *role).collect();
    let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
    let text = serde_json::to_vec(&roles)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("too many sockets"));
    }
    sendmsg(
        stream,
        &[IoSlice::new(&text)],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// Words between the two processes, one a line. All waiting is bounded; all calls block.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Mutex<BufReader<UnixStream>>,
    /// Held from a question to its answer.
    turn: Mutex<()>,
}

impl Line {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream: Mutex::new(BufReader::with_capacity(LINE_MAX, stream)),
            turn: Mutex::new(()),
        }
    }

    /// Says a word.
    pub(crate) fn say(&self, word: &str) -> io::Result<()> {
        let mut reader = self.stream.lock();
        reader.get_mut().write_all(format!("{word}\n").as_bytes())
    }

    /// Hears the next line, at most so long from now; `None` waits for ever. Empty at the end.
    pub(crate) fn hear(&self, patience: Option<Duration>) -> io::Result<String> {
        let mut reader = self.stream.lock();
        reader.get_ref().set_read_timeout(patience)?;
        let mut line = Vec::new();
        let mut limited = io::Read::take(&mut *reader, LINE_MAX as u64);
        limited.read_until(b'\n', &mut line)?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn expect(&self, word: &'static str, patience: Duration) -> Result<(), Error> {
        match self.hear(Some(patience)) {
            Ok(heard) if heard == word => Ok(()),
            _ => Err(Error::Ended(word)),
        }
    }

    /// New: everything that needs no disk is done. Returns once the old process has closed its own.
    pub(crate) fn prepared(&self) -> Result<(), Error> {
        self.say("prepared")?;
        self.expect("released", OPENING)
    }

    /// New: all is open. Returns once the old process leaves the sockets.
    pub(crate) fn ready(&self) -> Result<(), Error> {
        self.say("ready")?;
        self.expect("yours", PREPARING)
    }

    /// Old: waits for the new process to be prepared.
    pub(crate) fn await_prepared(&self) -> Result<(), Error> {
        self.expect("prepared", PREPARING)
    }

    /// Old: lets the new process have the disk, and waits until it has opened it.
    pub(crate) fn released(&self) -> Result<(), Error> {
        self.say("released")?;
        self.expect("ready", OPENING)
    }

    /// Old: lets the new process have the sockets.
    pub(crate) fn yours(&self) -> Result<(), Error> {
        Ok(self.say("yours")?)
    }

    /// New: has the old process purge too, while it still answers somebody. False where it is gone.
    pub(crate) fn purge(&self, purge: &str) -> bool {
        let _turn = self.turn.lock();
        self.say(purge).is_ok()
            && self
                .hear(Some(PURGING))
                .is_ok_and(|heard| heard == "purged")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sockets_arrive_as_what_they_are() {
        let (old, new) = UnixStream::pair().unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let quic = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp, udp) = (http.local_addr().unwrap(), quic.local_addr().unwrap());
        let mut handed = Handed::default();
        handed.add(Role::Http, &http).unwrap();
        handed.add(Role::Quic, &quic).unwrap();
        send(&old, &handed).unwrap();
        drop((handed, http, quic));
        let mut inherited = Inherited::receive(new).unwrap();
        // Still open, by their new owner alone.
        std::net::TcpStream::connect(tcp).unwrap();
        let handed = &mut inherited.handed;
        assert_eq!(handed.tcp(Role::Admin, tcp).unwrap().len(), 0);
        assert_eq!(
            handed.tcp(Role::Http, tcp).unwrap()[0]
                .local_addr()
                .unwrap(),
            tcp
        );
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(
            handed.udp(Role::Quic, any).unwrap()[0]
                .local_addr()
                .unwrap(),
            udp
        );
        assert!(handed.0.is_empty());
    }

    #[test]
    fn what_a_service_manager_has_bound_is_taken_by_name() {
        let tcp = || Bound::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        let udp = Bound::Udp(UdpSocket::bind("127.0.0.1:0").unwrap());
        let named = [("http", tcp()), ("https", tcp()), ("https", udp)];
        let named = named.map(|(name, socket)| (name.to_owned(), socket));
        let mut handed = Inherited::bound(named).unwrap().handed;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(handed.tcp(Role::Http, any).unwrap().len(), 1);
        assert_eq!(handed.udp(Role::Quic, any).unwrap().len(), 1);
        // Another address's stays, and can be named.
        let other = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(handed.tcp(Role::Https, other).unwrap().len(), 0);
        assert_eq!(handed.left().len(), 1);
        let error = Inherited::bound([("segue.socket".to_owned(), tcp())]).unwrap_err();
        assert!(error.to_string().contains("`segue.socket`"), "{error}");
    }

    #[test]
    fn an_end_that_leaves_is_an_error_of_its_step() {
        let (old, new) = UnixStream::pair().unwrap();
        let line = Line::new(old);
        drop(new);
        let error = line.await_prepared().unwrap_err();
        assert!(matches!(error, Error::Ended("prepared")), "{error}");
    }
}
