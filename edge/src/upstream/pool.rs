//! Connections to one upstream: how many requests may be under way, which connections are free.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{config::UpstreamLimits, connect::Sender};
use crate::exchange::RequestBody;

/// All connections of one upstream.
pub(super) struct Pool {
    limits: UpstreamLimits,
    /// Unused HTTP/1.1 connections, oldest first.
    idle: Mutex<VecDeque<Idle>>,
    /// HTTP/2 connections; never more than requests under way need.
    shared: Mutex<Vec<Arc<Shared>>>,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// An unused HTTP/1.1 connection.
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    address: SocketAddr,
    since: Instant,
}

/// An HTTP/2 connection.
pub(super) struct Shared {
    sender: http2::SendRequest<RequestBody>,
    address: SocketAddr,
    /// Requests on it.
    streams: AtomicUsize,
}

/// A stream of a shared connection; counted until dropped.
pub(super) struct Stream(Arc<Shared>);

impl Stream {
    pub(super) fn sender(&self) -> http2::SendRequest<RequestBody> {
        self.0.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

/// A connection that a request may be sent on.
pub(super) enum Connection {
    /// All of an HTTP/1.1 connection.
    H1(http1::SendRequest<RequestBody>, SocketAddr),
    /// A stream of an HTTP/2 connection.
    H2(Stream),
}

/// The right to have one request under way.
pub(super) struct Slot {
    pool: Arc<Pool>,
    /// Held for its drop.
    _permit: OwnedSemaphorePermit,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// Too many wait already.
    Crowded,
    /// None became free in time.
    Late,
}

impl Pool {
    pub(super) fn new(limits: UpstreamLimits) -> Arc<Self> {
        let slots = limits.connections.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            limits,
            idle: Mutex::default(),
            shared: Mutex::default(),
            slots: Arc::new(Semaphore::new(slots)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// A slot, waited for as long as the limits allow.
    ///
    /// # Errors
    /// [`NoSlot`].
    pub(super) async fn slot(self: &Arc<Self>) -> Result<Slot, NoSlot> {
        let permit = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        Ok(Slot {
            pool: Arc::clone(self),
            _permit: permit,
        })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, NoSlot> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.limits.waiters {
            return Err(NoSlot::Crowded);
        }
        let slots = Arc::clone(&self.slots);
        match timeout(self.limits.queue, slots.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(NoSlot::Late),
        }
    }

    fn take_idle(&self, holds: impl Fn(SocketAddr) -> bool) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let timeout = self.limits.idle;
        while idle
            .front()
            .is_some_and(|old| old.since.elapsed() >= timeout)
        {
            idle.pop_front();
        }
        loop {
            let newest = idle.pop_back()?;
            if newest.sender.is_ready() && holds(newest.address) {
                return Some(Connection::H1(newest.sender, newest.address));
            }
        }
    }

    fn take_stream(&self, holds: impl Fn(SocketAddr) -> bool) -> Option<Connection> {
        let mut shared = self.shared.lock();
        shared.retain(|one| !one.sender.is_closed() && holds(one.address));
        let most = self.limits.streams;
        let free = shared.iter().find(|one| one.streams.load(Relaxed) < most)?;
        free.streams.fetch_add(1, Relaxed);
        Some(Connection::H2(Stream(Arc::clone(free))))
    }

    fn put(&self, sender: http1::SendRequest<RequestBody>, address: SocketAddr) {
        let mut idle = self.idle.lock();
        if idle.len() >= self.limits.idle_connections {
            idle.pop_front();
        }
        if self.limits.idle_connections > 0 {
            idle.push_back(Idle {
                sender,
                address,
                since: Instant::now(),
            });
        }
    }
}

impl Slot {
    /// A connection that exists already, to an address that `holds` still.
    pub(super) fn kept(&self, holds: impl Fn(SocketAddr) -> bool) -> Option<Connection> {
        self.pool.take_idle(&holds).or_else(|| self.stream(holds))
    }

    /// A stream of an HTTP/2 connection that exists already.
    pub(super) fn stream(&self, holds: impl Fn(SocketAddr) -> bool) -> Option<Connection> {
        self.pool.take_stream(holds)
    }

    /// Takes in a new connection.
    pub(super) fn adopt(&self, sender: Sender, address: SocketAddr) -> Connection {
        match sender {
            Sender::H1(sender) => Connection::H1(sender, address),
            Sender::H2(sender) => {
                let shared = Arc::new(Shared {
                    sender,
                    address,
                    streams: AtomicUsize::new(1),
                });
                self.pool.shared.lock().push(Arc::clone(&shared));
                Connection::H2(Stream(shared))
            }
        }
    }

    /// Gives no further request to the connection of a stream.
    pub(super) fn distrust(&self, stream: &Stream) {
        let mut shared = self.pool.shared.lock();
        shared.retain(|one| !Arc::ptr_eq(one, &stream.0));
    }

    /// Gives a connection back for others, if it can take another request.
    pub(super) fn give_back(self, connection: Connection) {
        let Connection::H1(sender, address) = connection else {
            return;
        };
        if sender.is_closed() {
            return;
        }
        let pool = Arc::clone(&self.pool);
        if sender.is_ready() {
            return pool.put(sender, address);
        }
        // The driver still has to see the end of the response.
        tokio::spawn(async move {
            let mut sender = sender;
            let ready = timeout(Duration::from_secs(1), sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                pool.put(sender, address);
            }
        });
    }
}
