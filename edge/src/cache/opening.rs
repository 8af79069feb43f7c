//! Asking the upstream for an object: once, however many want it.
//!
//! The first request starts a detached task; the others wait for the head of its response. If that
//! can be stored, all of them read it as it arrives; if not, the first gets it and the others ask
//! for themselves. What the task does with the response is in `arrival.rs`.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, StatusCode};
use tokio::sync::{Notify, oneshot};

use super::{
    arrival::Task,
    disk::Disk,
    fill::Attached,
    record::{Record, Stored},
    store::{Entry, Store, stripe},
};
use crate::{
    asked::Asked,
    exchange::{BoxBody, Purge, PurgeMode, UpstreamError, UpstreamFault},
    policy::storable::NotStored,
};

/// One question to the upstream, shared.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Set by an unsafe request: the answer may be older than the change.
    overtaken: AtomicBool,
    shared: OnceLock<Shared>,
    decided: Notify,
}

/// What everyone who waits learns.
#[derive(Clone, Debug)]
pub(crate) enum Shared {
    /// It is stored, or freshened.
    Stored(Answer),
    /// Everyone has to ask for themselves.
    Alone {
        /// The upstream answered with a server error.
        error: bool,
    },
    /// The upstream did not answer.
    Failed(UpstreamError),
}

/// A stored response that has just been asked for.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The response.
    pub(crate) stored: Arc<Stored>,
    /// Its body as it arrives; none where a 304 confirmed what was there. Claimed, so that the
    /// beginning is there for who waits for the answer.
    pub(super) fill: Option<Attached>,
    /// The upstream's status.
    pub(crate) status: StatusCode,
    /// Fields that are for the first asker only.
    pub(crate) withheld: HeaderMap,
}

impl Answer {
    /// A claim on the body that is arriving, if slice `n` is part of that.
    pub(crate) fn attach(&self, n: u32) -> Option<Attached> {
        let fill = self.fill.as_ref().filter(|fill| fill.covers(n))?;
        Some(Attached::to(fill.fill().clone(), n))
    }
}

/// What the first asker learns.
#[derive(Debug)]
pub(crate) enum Lead {
    /// It is stored, or freshened.
    Stored(Answer),
    /// It can't be stored: here it is.
    Passed {
        /// The response, with the client's own range, if any.
        response: http::Response<BoxBody>,
        /// Whether the upstream was asked for more than the client asked for: the response is
        /// then of no use.
        misfit: bool,
        /// Why it isn't stored.
        why: NotStored,
    },
    /// The upstream did not answer.
    Failed(UpstreamError),
}

/// An opening, and what its first asker waits for.
type Begun = (Arc<Opening>, Option<oneshot::Receiver<Lead>>);

/// What an asker learns.
pub(crate) enum Opened {
    /// It asked.
    Led(Lead),
    /// It waited.
    Joined(Shared),
    /// What is stored has changed since it looked: look again.
    Overtaken,
}

/// What is stored for a request already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    /// All that is known of the object.
    pub(crate) record: Option<Arc<Record>>,
    /// The response that the request selects, to be validated.
    pub(crate) stored: Option<Arc<Stored>>,
}

impl Store {
    /// Asks the upstream for an object, or waits for who has asked already.
    pub(crate) async fn open(self: &Arc<Self>, asked: &Arc<Asked>, base: Base) -> Opened {
        let Some((opening, lead)) = self.begin(asked, base) else {
            return Opened::Overtaken;
        };
        match lead {
            Some(lead) => Opened::Led(lead.await.unwrap_or_else(|_| Lead::Failed(abandoned()))),
            None => {
                self.counters.collapsed.fetch_add(1, Ordering::Relaxed);
                Opened::Joined(opening.wait().await)
            }
        }
    }

    /// Asks the upstream for an object unless someone has already; doesn't wait. None where `base`
    /// is out of date.
    pub(crate) fn begin(self: &Arc<Self>, asked: &Arc<Asked>, base: Base) -> Option<Begun> {
        let mut openings = self.openings[stripe(asked.key.0)].lock();
        if let Some(opening) = openings.get(&asked.key) {
            return Some((opening.clone(), None));
        }
        // An opening that ended since the caller looked has left its answer here.
        if let Some(Entry::Record(now)) = self.memory.peek(asked.key.record())
            && !base
                .record
                .as_ref()
                .is_some_and(|then| Arc::ptr_eq(then, &now))
        {
            return None;
        }
        let opening = Opening::new();
        openings.insert(asked.key, opening.clone());
        let (tell, lead) = oneshot::channel();
        let task = Task::new(self, asked, base, opening.clone());
        tokio::spawn(async move {
            let lead = task.run().await;
            let _ = tell.send(lead);
        });
        Some((opening, Some(lead)))
    }

    /// Asks the upstream for an object that nobody has asked for yet, unless someone has after
    /// all, and waits until what it sends is here.
    pub(crate) async fn open_ahead(self: &Arc<Self>, asked: &Arc<Asked>, base: Base) {
        if let Some((_, Some(lead))) = self.begin(asked, base)
            && let Ok(Lead::Stored(answer)) = lead.await
            && let Some(claim) = answer.fill
        {
            // Nobody reads it yet: it must not wait for anybody.
            let fill = claim.fill().clone();
            drop(claim);
            fill.ended().await;
        }
    }

    /// Forgets what is stored under a key, and what is being asked for.
    pub(crate) fn invalidate(&self, asked: &Asked) {
        if let Some(opening) = self.openings[stripe(asked.key.0)].lock().remove(&asked.key) {
            opening.overtaken.store(true, Ordering::Release);
        }
        let key = asked.key.record();
        let on_disk = |disk: &Arc<Disk>| disk.failed() || disk.may_contain(key);
        if self.memory.contains(key) || self.disk.as_ref().is_some_and(on_disk) {
            let forgotten = self.update(asked, None, |record| Record {
                variants: Vec::new(),
                ..record.clone()
            });
            if !forgotten {
                // The disk would bring it back.
                let url = Purge::Url(asked.target.as_str().to_owned());
                self.purges.note(&url, PurgeMode::Hard);
            }
        }
    }
}

impl Opening {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            overtaken: AtomicBool::new(false),
            shared: OnceLock::new(),
            decided: Notify::new(),
        })
    }

    /// Whether an unsafe request has come in between.
    pub(super) fn is_overtaken(&self) -> bool {
        self.overtaken.load(Ordering::Acquire)
    }

    async fn wait(&self) -> Shared {
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            decided.as_mut().enable();
            if let Some(shared) = self.shared.get() {
                return shared.clone();
            }
            decided.await;
        }
    }

    /// Tells everyone; the first word counts.
    pub(super) fn decide(&self, shared: Shared) {
        let _ = self.shared.set(shared);
        self.decided.notify_waiters();
    }
}

/// What is told where a task ended before its time.
pub(super) fn abandoned() -> UpstreamError {
    UpstreamError {
        fault: UpstreamFault::Unavailable,
        retryable: false,
        detail: "the fetch was abandoned".into(),
    }
}
