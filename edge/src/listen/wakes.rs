//! How other tasks tell a connection that they have taken some of a request's body, or that there
//! is an interim response.

use std::{sync::Arc, task::Waker};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::interim::{Interim, Number, Sink};

/// Interim responses of a connection that may wait to be written; more are dropped.
const INTERIMS: usize = 32;

/// Fields of one; those with more are dropped.
const INTERIM_FIELDS: usize = 64;

/// What others have for a connection.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    news: Mutex<News>,
    connection: AtomicWaker,
}

/// What there is to be acted on.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Streams whose readers have taken some. Each is noted once until it is taken, so there are
    /// no more than the connection has.
    pub(crate) read: Vec<u32>,
    /// Interim responses, in order.
    pub(crate) interims: Vec<(u32, StatusCode, HeaderMap)>,
}

impl Sink for Wakes {
    fn tell(&self, [_, stream]: Number, status: StatusCode, headers: &HeaderMap) {
        let Ok(stream) = u32::try_from(stream) else {
            return;
        };
        let mut news = self.news.lock();
        if news.interims.len() < INTERIMS && headers.len() <= INTERIM_FIELDS {
            news.interims.push((stream, status, headers.clone()));
            drop(news);
            self.connection.wake();
        }
    }
}

impl Wakes {
    /// Notes a stream of which some was read, and wakes the connection.
    pub(crate) fn wake(&self, stream: u32) {
        self.news.lock().read.push(stream);
        self.connection.wake();
    }

    /// Where interim responses to a request go.
    pub(crate) fn interim(self: &Arc<Self>, stream: u32) -> Interim {
        Interim::to(Arc::clone(self) as Arc<dyn Sink>, [0, stream.into()])
    }

    /// Has the connection woken for what comes after this.
    pub(crate) fn register(&self, waker: &Waker) {
        self.connection.register(waker);
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> News {
        std::mem::take(&mut self.news.lock())
    }
}
