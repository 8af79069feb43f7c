//! Player mode: listeners who pick tracks, start, buffer ahead, and sometimes skip.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::{
    catalog::Item,
    client::{Ask, Failure, Got, Link},
    sidx::{self, Segment},
    stats::{Live, Tally},
};

/// Exponent of the Zipf distribution that tracks are chosen by.
const ZIPF_EXPONENT: f64 = 0.9;
/// Share of tracks that are skipped somewhere.
const SKIPS: f64 = 0.25;

/// What the listeners of a run share.
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// Cumulated chances of `items`.
    chances: Vec<f64>,
    /// Media seconds that pass in a second.
    speed: f64,
    /// Media seconds to keep ahead.
    ahead_s: f64,
    deadline: Instant,
    pub(crate) live: Live,
}

impl Plan {
    pub(crate) fn new(
        items: Vec<Item>,
        speed: f64,
        ahead_s: f64,
        deadline: std::time::Instant,
    ) -> Self {
        let mut sum = 0.0;
        let weights = (1..=items.len()).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT));
        let chances = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        Self {
            items,
            chances,
            speed,
            ahead_s,
            deadline: deadline.into(),
            live: Live::default(),
        }
    }

    fn pick(&self, random: &mut impl Rng) -> &Item {
        let total = self.chances.last().copied().unwrap_or(1.0);
        let point = random.random_range(0.0..total);
        let index = self.chances.partition_point(|chance| *chance <= point);
        &self.items[index.min(self.items.len() - 1)]
    }
}

/// The clock of a media element: runs while there is sound ahead, stands while there is none.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// When `position` was right.
    at: Instant,
    position: f64,
    buffered: f64,
}

impl Clock {
    /// Moves on to `now`; the time without sound since the last call, if any.
    fn advance(&mut self, now: Instant, speed: f64) -> Duration {
        let wanted = self.position + now.duration_since(self.at).as_secs_f64() * speed;
        let reached = wanted.min(self.buffered);
        (self.at, self.position) = (now, reached);
        Duration::from_secs_f64((wanted - reached) / speed)
    }
}

/// One listener, from the first track to the run's end.
pub(crate) async fn listen(plan: Arc<Plan>, link: Arc<Link>, seed: u64) -> Tally {
    let mut random = StdRng::seed_from_u64(seed);
    let mut listener = Listener {
        plan: &plan,
        link: &link,
        tally: Tally::default(),
        clock: None,
    };
    // Listeners don't all press play in the same instant.
    let pause = Duration::from_millis(random.random_range(0..250));
    tokio::time::sleep_until(plan.deadline.min(Instant::now() + pause)).await;
    while Instant::now() < plan.deadline {
        let item = plan.pick(&mut random).clone();
        let skip_at = random
            .random_bool(SKIPS)
            .then(|| random.random_range(0.0..1.0));
        if listener.play(&item, skip_at).await.is_err() {
            // The listener tries another track.
            listener.clock = None;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    listener.hear();
    listener.tally
}

struct Listener<'a> {
    plan: &'a Plan,
    link: &'a Link,
    tally: Tally,
    /// Runs on from track to track; `None` when the next track has to start it.
    clock: Option<Clock>,
}

impl Listener<'_> {
    /// Plays a track, or a share of it: one request to the first sound, then segment by segment.
    async fn play(&mut self, item: &Item, skip_at: Option<f64>) -> Result<(), Failure> {
        let wanted = Instant::now();
        let head = self
            .fetch(&Ask {
                keep: true,
                ..Ask::range(item.path.as_str(), 0, item.start)
            })
            .await?;
        let segments = sidx::segments(&head.body)
            .filter(|s| !s.is_empty())
            .ok_or(Failure::Content)?;
        self.tally.listening.tracks += 1;
        let (first, rest) = segments.split_at(segments.partition_point(|s| s.end <= item.start));
        if self.clock.is_some() {
            self.buffer(first);
        } else {
            self.tally.listening.startup.record(wanted.elapsed());
            let buffered = first.iter().map(|s| s.seconds).sum();
            self.clock = Some(Clock {
                at: Instant::now(),
                position: 0.0,
                buffered,
            });
        }
        let skip_after = skip_at.map(|share| (segments.len() as f64 * share) as usize);
        for (index, segment) in rest.iter().enumerate() {
            if !self.wait_for_room().await {
                return Ok(());
            }
            if skip_after.is_some_and(|skip| first.len() + index >= skip) {
                // What is buffered is thrown away, and the next track starts anew.
                self.clock = None;
                return Ok(());
            }
            self.fetch(&Ask::range(item.path.as_str(), segment.start, segment.end))
                .await?;
            self.buffer(std::slice::from_ref(segment));
        }
        // At the end there is room first, else short tracks would pile up.
        self.wait_for_room().await;
        Ok(())
    }

    async fn fetch(&mut self, ask: &Ask) -> Result<Got, Failure> {
        let outcome = self.link.fetch(ask).await;
        self.tally.count(&outcome, Duration::ZERO, &self.plan.live);
        outcome
    }

    /// Takes in the time since the last call.
    fn hear(&mut self) {
        let now = Instant::now().min(self.plan.deadline);
        let Some(clock) = &mut self.clock else { return };
        if now <= clock.at {
            return;
        }
        let (before, heard) = (clock.position, &mut self.tally.listening);
        let silent = clock.advance(now, self.plan.speed);
        heard.played_s += clock.position - before;
        if !silent.is_zero() {
            heard.rebuffers += 1;
            heard.stalled += silent;
        }
    }

    fn buffer(&mut self, segments: &[Segment]) {
        self.hear();
        if let Some(clock) = &mut self.clock {
            clock.buffered += segments.iter().map(|s| s.seconds).sum::<f64>();
        }
    }

    /// Waits until the buffer is below its aim; `false` at the run's end.
    async fn wait_for_room(&mut self) -> bool {
        self.hear();
        if let Some(clock) = &self.clock {
            let surplus_s = clock.buffered - clock.position - self.plan.ahead_s;
            let until =
                Instant::now() + Duration::from_secs_f64(surplus_s.max(0.0) / self.plan.speed);
            tokio::time::sleep_until(until.min(self.plan.deadline)).await;
            self.hear();
        }
        Instant::now() < self.plan.deadline
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Clock;

    #[test]
    fn the_clock_stands_without_sound() {
        let at = Instant::now();
        let mut clock = Clock {
            at,
            position: 0.0,
            buffered: 4.0,
        };
        assert_eq!(
            clock.advance(at + Duration::from_secs(1), 2.0),
            Duration::ZERO
        );
        assert_eq!(clock.position, 2.0);
        assert_eq!(
            clock.advance(at + Duration::from_secs(5), 2.0),
            Duration::from_secs(3)
        );
        assert_eq!(clock.position, 4.0);
    }
}
