//! Listeners: what clients send becomes an [`exchange::Request`](crate::exchange::Request), what
//! the service answers goes back to them. Knows transports and protocols, nothing of caching.

pub(crate) mod bind;
pub(crate) mod exchange;
pub(crate) mod h3;
mod hyper_service;
pub(crate) mod slots;
pub(crate) mod tcp;
pub(crate) mod tls;
mod vitals;
mod wire;

use std::sync::Arc;

use http::HeaderValue;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::Limits;

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
    /// One task a connection.
    pub tasks: TaskTracker,
}
