//! Connections to one upstream: how many may exist, which are unused.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::RequestBody;

/// Unused connections and the count of all.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    idle_max: usize,
    idle_timeout: Duration,
    all: Arc<Semaphore>,
}

/// An unused connection; it doesn't count against the limit.
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection in use, or the right to open one.
pub(super) struct Lease {
    pool: Arc<Pool>,
    /// The connection, once there is one.
    pub(super) sender: Option<SendRequest<RequestBody>>,
    /// Held for its drop.
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(max: usize, idle_max: usize, idle_timeout: Duration) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            idle: Mutex::default(),
            idle_max,
            idle_timeout,
            all,
        })
    }

    /// A lease, with the unused connection that was used last unless `fresh` is asked for. None
    /// where none became free within `wait`.
    pub(super) async fn lease(self: &Arc<Self>, fresh: bool, wait: Duration) -> Option<Lease> {
        let permit = tokio::time::timeout(wait, Arc::clone(&self.all).acquire_owned())
            .await
            .ok()?
            .ok()?;
        let sender = if fresh { None } else { self.take_idle() };
        Some(Lease {
            pool: Arc::clone(self),
            sender,
            _permit: permit,
        })
    }

    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.lock();
        while idle
            .front()
            .is_some_and(|old| old.since.elapsed() >= self.idle_timeout)
        {
            idle.pop_front();
        }
        loop {
            let newest = idle.pop_back()?;
            if newest.sender.is_ready() {
                return Some(newest.sender);
            }
        }
    }
}

impl Lease {
    /// Gives the connection back for others, if it can take another request.
    pub(super) fn give_back(mut self) {
        let Some(sender) = self.sender.take().filter(|sender| !sender.is_closed()) else {
            return;
        };
        let pool = Arc::clone(&self.pool);
        if sender.is_ready() {
            return pool.put(sender);
        }
        // The driver still has to see the end of the response.
        tokio::spawn(async move {
            let mut sender = sender;
            let ready = tokio::time::timeout(Duration::from_secs(1), sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                pool.put(sender);
            }
        });
    }
}

impl Pool {
    fn put(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.lock();
        if idle.len() >= self.idle_max {
            idle.pop_front();
        }
        if self.idle_max > 0 {
            idle.push_back(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }
}
