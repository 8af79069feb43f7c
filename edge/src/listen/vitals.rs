//! Signs of life of one HTTP/1.1 or HTTP/2 connection, and the future that cuts it off when a
//! timeout of [`Limits`] passes.
//!
//! The transport notes bytes, the dispatcher notes requests; only [`Watched`] decides.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use crate::{config::Limits, metrics::Cut};

/// What a connection has been doing. Times are milliseconds since `born`; 0 means never.
#[derive(Debug)]
pub(crate) struct Vitals {
    born: Instant,
    /// The time, as of the last look at the clock: one for each poll of the connection is enough.
    now_ms: AtomicU64,
    /// Whether bytes read while idle begin a head (HTTP/1.1), or may be anything (HTTP/2).
    reads_are_heads: bool,
    /// Requests under way.
    in_flight: AtomicU32,
    /// Of those, how many wait for us rather than for the client.
    ours: AtomicU32,
    /// When the last request ended.
    idle_since_ms: AtomicU64,
    /// When the current head's first byte came.
    head_since_ms: AtomicU64,
    /// When the connection last became busy.
    busy_since_ms: AtomicU64,
    /// Bytes moved by the client's doing, either direction.
    moved: AtomicU64,
}

impl Vitals {
    /// Of a connection that begins now.
    pub(crate) fn new(reads_are_heads: bool) -> Self {
        Self {
            born: Instant::now(),
            now_ms: AtomicU64::new(1),
            reads_are_heads,
            in_flight: AtomicU32::new(0),
            ours: AtomicU32::new(0),
            idle_since_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(0),
            busy_since_ms: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }
    }

    /// Whether this is an HTTP/1.1 connection's.
    pub(crate) fn reads_are_heads(&self) -> bool {
        self.reads_are_heads
    }

    /// Looks at the clock.
    fn tick(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now_ms.store(ms.max(1), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Relaxed)
    }

    /// The transport read `bytes`.
    pub(crate) fn read(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Relaxed);
        if self.reads_are_heads
            && self.in_flight.load(Relaxed) == 0
            && self.head_since_ms.load(Relaxed) == 0
        {
            self.head_since_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// Whether a head is under way, for protocols whose bytes alone don't tell.
    pub(crate) fn heading(&self, under_way: bool) {
        let idle = self.in_flight.load(Relaxed) == 0;
        if !under_way || !idle {
            self.head_since_ms.store(0, Relaxed);
        } else if self.head_since_ms.load(Relaxed) == 0 {
            self.head_since_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// The transport wrote `bytes`.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Relaxed);
    }

    /// A head is complete.
    pub(crate) fn request_began(&self) {
        if self.in_flight.fetch_add(1, Relaxed) == 0 {
            self.busy_since_ms.store(self.now_ms(), Relaxed);
        }
        self.head_since_ms.store(0, Relaxed);
    }

    /// A response is through, or given up.
    pub(crate) fn request_ended(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.idle_since_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// One more request waits for us (`true`), or one less.
    pub(crate) fn wait_for_us(&self, waits: bool) {
        if waits {
            self.ours.fetch_add(1, Relaxed);
        } else {
            self.ours.fetch_sub(1, Relaxed);
        }
    }
}

/// State of the stall check while requests are under way.
#[derive(Clone, Copy, Debug)]
struct Window {
    began_ms: u64,
    moved: u64,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// By itself.
    Done(T),
    /// By a timeout.
    Cut(Cut),
}

/// A connection's future under the timeouts.
pub(crate) struct Watched<F> {
    connection: F,
    vitals: Arc<Vitals>,
    header_ms: u64,
    idle_ms: u64,
    stall_ms: u64,
    /// Bytes a window must move.
    stall_bytes: u64,
    window: Option<Window>,
    /// When the drain began; 0 before. Idleness counts from then on.
    drained_ms: u64,
    /// When the sleep fires, in the vitals' milliseconds; 0 where it hasn't been asked to.
    armed_ms: u64,
    sleep: Pin<Box<Sleep>>,
}

impl<F: Future + Unpin> Watched<F> {
    /// Puts `connection` under the timeouts of `limits`.
    pub(crate) fn new(connection: F, vitals: Arc<Vitals>, limits: &Limits) -> Self {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            connection,
            header_ms: ms(limits.header),
            idle_ms: ms(limits.idle),
            stall_ms: ms(limits.stall),
            stall_bytes: (limits.min_rate as f64 * limits.stall.as_secs_f64()) as u64,
            window: None,
            drained_ms: 0,
            armed_ms: 0,
            sleep: Box::pin(tokio::time::sleep_until(vitals.born.into())),
            vitals,
        }
    }

    /// From now on, the connection is closed once nothing has been asked for `grace`.
    pub(crate) fn drain(&mut self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.idle_ms = self.idle_ms.min(grace_ms);
        self.vitals.tick();
        self.drained_ms = self.vitals.now_ms();
        // The timer is set for the longer wait.
        self.armed_ms = 0;
    }

    /// The connection, to drain it.
    pub(crate) fn connection(&mut self) -> &mut F {
        &mut self.connection
    }

    /// The next moment to look, or the cut that is due.
    fn judge(&mut self) -> Result<u64, Cut> {
        let now = self.vitals.now_ms();
        if self.vitals.in_flight.load(Relaxed) == 0 {
            self.window = None;
            let head_since = self.vitals.head_since_ms.load(Relaxed);
            let (due, cut) = match head_since {
                0 => (
                    self.vitals
                        .idle_since_ms
                        .load(Relaxed)
                        .max(self.drained_ms)
                        .saturating_add(self.idle_ms),
                    Cut::Idle,
                ),
                since => (since.saturating_add(self.header_ms), Cut::Header),
            };
            return if due <= now { Err(cut) } else { Ok(due) };
        }
        let moved = self.vitals.moved.load(Relaxed);
        let fresh = Window {
            began_ms: now,
            moved,
        };
        let window = *self.window.get_or_insert(fresh);
        let due = window.began_ms.saturating_add(self.stall_ms);
        if due > now {
            return Ok(due);
        }
        let client_held_us = self.vitals.ours.load(Relaxed) < self.vitals.in_flight.load(Relaxed);
        let busy_throughout = self.vitals.busy_since_ms.load(Relaxed) <= window.began_ms;
        if client_held_us && busy_throughout && moved - window.moved < self.stall_bytes {
            return Err(Cut::Stall);
        }
        self.window = Some(fresh);
        Ok(now.saturating_add(self.stall_ms))
    }
}

impl<F: Future + Unpin> Future for Watched<F> {
    type Output = End<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.vitals.tick();
        if let Poll::Ready(output) = Pin::new(&mut self.connection).poll(cx) {
            return Poll::Ready(End::Done(output));
        }
        loop {
            let due = match self.judge() {
                Ok(due) => due,
                Err(cut) => return Poll::Ready(End::Cut(cut)),
            };
            // A timer that fires early only looks again; one that fires late would miss. One that is
            // armed wakes this task, whose waker is always the same.
            if self.armed_ms > self.vitals.now_ms() && due >= self.armed_ms {
                return Poll::Pending;
            }
            let at = self.vitals.born + Duration::from_millis(due);
            self.sleep.as_mut().reset(at.into());
            self.armed_ms = due;
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.vitals.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits() -> Limits {
        Limits {
            header: Duration::from_millis(40),
            idle: Duration::from_millis(120),
            stall: Duration::from_millis(60),
            min_rate: 1000,
            ..Limits::default()
        }
    }

    /// Runs a connection that never ends by itself and reports by what and when it was cut.
    async fn check(expected: Cut, at_ms: std::ops::Range<u64>, act: impl AsyncFn(&Vitals)) {
        let vitals = Arc::new(Vitals::new(true));
        // Wakes as a transport would.
        let (wake, mut woken) = tokio::sync::mpsc::unbounded_channel::<()>();
        let connection = Box::pin(async move { while woken.recv().await.is_some() {} });
        let watched = Watched::new(connection, Arc::clone(&vitals), &limits());
        let actor = async {
            vitals.tick();
            act(&vitals).await;
            wake.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        let end = tokio::select! { end = watched => end, () = actor => unreachable!() };
        vitals.tick();
        let took = vitals.now_ms();
        assert!(matches!(end, End::Cut(cut) if cut == expected), "{end:?}");
        assert!(
            at_ms.contains(&took),
            "cut after {took} ms, expected {at_ms:?}"
        );
    }

    #[tokio::test]
    async fn cuts() {
        check(Cut::Idle, 110..400, async |_| {}).await;
        check(Cut::Header, 35..115, async |v| v.read(3)).await;
        // A client that takes nothing.
        check(Cut::Stall, 55..300, async |v| v.request_began()).await;
        // One that waits for us, is answered, and then idles.
        check(Cut::Idle, 250..800, async |v| {
            v.request_began();
            v.wait_for_us(true);
            tokio::time::sleep(Duration::from_millis(150)).await;
            v.tick();
            v.wait_for_us(false);
            v.request_ended();
        })
        .await;
    }
}
