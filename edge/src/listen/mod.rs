//! Listeners: what clients send becomes an [`exchange::Request`](crate::exchange::Request), what
//! the service answers goes back to them. Knows transports and protocols, nothing of caching.

mod allowance;
pub(crate) mod bind;
mod date;
pub(crate) mod dribble;
pub(crate) mod exchange;
pub(crate) mod expect;
mod expiry;
mod field;
pub(crate) mod fuzzing;
mod guard;
mod h1;
mod h2;
mod h2_budget;
pub(crate) mod h3;
mod head;
mod huffman;
mod output;
mod priority;
pub(crate) mod slots;
pub(crate) mod tcp;
pub(crate) mod tls;
mod unfit;
mod upload;
mod vitals;
mod wakes;
mod wire;

use std::sync::{Arc, atomic::AtomicBool};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::Limits;

/// What connections get when they are accepted: a reload replaces it, connections keep theirs.
pub(crate) type Current<S> = ArcSwap<Shared<S>>;

/// What all connections of an edge share.
pub(crate) struct Shared<S> {
    pub service: Arc<S>,
    pub observer: Arc<exchange::Observer>,
    pub limits: Limits,
    pub slots: Arc<slots::Slots>,
    /// `Alt-Svc` of responses over TLS on TCP.
    pub alt_svc: Option<HeaderValue>,
    /// Cancelled when the drain begins.
    pub drain: CancellationToken,
    /// True from the same moment: what a request may look at without a lock.
    pub draining: Arc<AtomicBool>,
    /// One task a connection.
    pub tasks: TaskTracker,
}

impl<S> Shared<S> {
    /// The same under other limits.
    pub(crate) fn with_limits(&self, limits: Limits) -> Self {
        Self {
            service: Arc::clone(&self.service),
            observer: Arc::clone(&self.observer),
            limits,
            slots: Arc::clone(&self.slots),
            alt_svc: self.alt_svc.clone(),
            drain: self.drain.clone(),
            draining: Arc::clone(&self.draining),
            tasks: self.tasks.clone(),
        }
    }
}
