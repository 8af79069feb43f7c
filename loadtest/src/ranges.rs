//! Range mode: random ranges, closed loop or at a rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    catalog::Item,
    client::{Ask, Failure, Got, Link},
    stats::{Live, Tally},
};

/// What the workers of a run share.
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// The objects' bytes, in the order of `items`, where ranges are to be compared.
    pub(crate) bodies: Vec<Bytes>,
    pub(crate) range_size: u64,
    pub(crate) started: Instant,
    pub(crate) deadline: Instant,
    /// Requests still to be begun.
    pub(crate) left: AtomicU64,
    /// Time between two requests of the whole run.
    pub(crate) interval: Option<Duration>,
    /// Requests begun, for the schedule.
    pub(crate) begun: AtomicU64,
    pub(crate) live: Live,
}

impl Plan {
    /// Takes the next request's turn: when it is due, or `None` at the end.
    fn turn(&self) -> Option<Instant> {
        let take = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        let now = Instant::now();
        let due = match self.interval {
            None => now,
            Some(interval) => {
                let nth = self.begun.fetch_add(1, Ordering::Relaxed);
                self.started + interval.mul_f64(nth as f64)
            }
        };
        (now < self.deadline && due < self.deadline).then_some(due)
    }
}

/// One stream's worth of requests.
pub(crate) async fn work(plan: Arc<Plan>, link: Arc<Link>, seed: u64) -> Tally {
    let mut random = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    while let Some(due) = plan.turn() {
        tokio::time::sleep_until(due.into()).await;
        let index = random.random_range(0..plan.items.len());
        let item = &plan.items[index];
        let (start, end) = pick(&mut random, item.size, plan.range_size);
        let wanted = plan.bodies.get(index);
        let ask = Ask {
            keep: wanted.is_some(),
            ..Ask::range(item.path.as_str(), start, end)
        };
        // Late because of slow answers: that is latency to whoever waits (coordinated omission).
        let waited = if plan.interval.is_some() {
            due.elapsed()
        } else {
            Duration::ZERO
        };
        let outcome = link
            .fetch(&ask)
            .await
            .and_then(|got| compare(got, wanted, start, end));
        let failed = outcome.is_err();
        tally.count(&outcome, waited, &plan.live);
        if failed {
            // A dead target is asked again at a walking pace.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tally
}

/// A range of `len` bytes, aligned as players' segments roughly are, within the object.
fn pick(random: &mut impl Rng, size: u64, len: u64) -> (u64, u64) {
    let slots = size.div_ceil(len).max(1);
    let start = random.random_range(0..slots) * len;
    (start, (start + len).min(size))
}

fn compare(got: Got, wanted: Option<&Bytes>, start: u64, end: u64) -> Result<Got, Failure> {
    let Some(wanted) = wanted else { return Ok(got) };
    match wanted.get(start as usize..end as usize) {
        Some(wanted) if *wanted == got.body[..] => Ok(got),
        _ => Err(Failure::Content),
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::pick;

    #[test]
    fn ranges_lie_within_the_object() {
        let mut random = StdRng::seed_from_u64(1);
        for size in [1, 9, 10, 11, 1000] {
            for _ in 0..200 {
                let (start, end) = pick(&mut random, size, 10);
                assert!(start < end && end <= size && end - start <= 10 && start % 10 == 0);
            }
        }
    }
}
