//! Interim responses (1xx, RFC 9110 §15.2) on their way to a client: where its listener takes them.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::policy::fields;

/// A request by its listener's own counting.
pub(crate) type Number = [u64; 2];

/// A listener's end: sends interim responses, as many as it likes.
pub(crate) trait Sink: Send + Sync {
    /// Sends one, if that request is still without its final response.
    fn tell(&self, request: Number, status: StatusCode, headers: &HeaderMap);
}

/// Where one request's interim responses go. Nowhere by default: HTTP/1.1 clients and upstreams'
/// other callers are sent none.
#[derive(Clone, Default)]
pub struct Interim(Option<(Arc<dyn Sink>, Number)>);

impl Interim {
    /// To that request of a listener.
    pub(crate) fn to(sink: Arc<dyn Sink>, request: Number) -> Self {
        Self(Some((sink, request)))
    }

    /// Whether anybody takes them.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_some()
    }

    /// Sends one of our own.
    pub(crate) fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some((sink, request)) = &self.0 {
            sink.tell(*request, status, headers);
        }
    }

    /// Passes an upstream's on: all but those about its connection, 100 since nobody there is asked
    /// for it, and 101 (RFC 9110 §15.2).
    pub(crate) fn forward(&self, status: StatusCode, headers: &HeaderMap) {
        let of_connection = [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS];
        if self.is_taken() && status.is_informational() && !of_connection.contains(&status) {
            let mut headers = headers.clone();
            fields::strip_hop_by_hop(&mut headers);
            self.tell(status, &headers);
        }
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interim").field(&self.is_taken()).finish()
    }
}
