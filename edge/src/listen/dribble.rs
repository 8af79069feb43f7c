//! Whether a client sends a request's body fast enough: only the time counts that somebody waited
//! for it.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use crate::config::Limits;

/// Bytes that have to come in `limits.stall`.
pub(crate) fn least(limits: &Limits) -> u64 {
    ((limits.min_rate as f64 * limits.stall.as_secs_f64()) as u64).max(1)
}

/// A body's windows of waiting, each as long as [`Limits::stall`].
pub(crate) struct Dribble {
    stall: Duration,
    least: u64,
    /// Time waited in this window, without the wait that goes on.
    waited: Duration,
    /// Bytes that came in it.
    came: u64,
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Dribble {
    /// Of a body that begins.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            stall: limits.stall,
            least: least(limits),
            waited: Duration::ZERO,
            came: 0,
            since: None,
            sleep: None,
        }
    }

    /// So many bytes came.
    pub(crate) fn came(&mut self, bytes: u64) {
        self.sleep = None;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.came += bytes;
    }

    /// Waits; ready once the client is too slow.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let since = *self.since.get_or_insert_with(Instant::now);
            let end = since + self.stall.saturating_sub(self.waited);
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end.into())));
            ready!(sleep.as_mut().poll(cx));
            if self.came < self.least {
                return Poll::Ready(());
            }
            (self.waited, self.came) = (Duration::ZERO, 0);
            (self.since, self.sleep) = (None, None);
        }
    }
}
