//! The trace: what listeners of a music service ask an edge for, from a seed.
//!
//! Listeners arrive at random, choose a track by a Zipf distribution, and read it slice by slice at
//! the speed of sound after a short burst. A quarter skip in the first seconds, the others leave
//! now and then, some seek. Half-way an album comes out that a quarter of all want at first.

use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Bytes of a slice: the edge's default.
const SLICE: u32 = 256 << 10;

/// Tracks of the album.
const ALBUM: usize = 12;

/// Listeners that arrive in a second.
const ARRIVALS: f64 = 40.0;

/// Milliseconds a slice plays: 256 KiB at 128 kbit/s.
const SLICE_MS: f64 = 16_000.0;

/// Part of the listeners who skip at once.
const SKIP: f64 = 0.25;

/// Part of the listeners who leave at each slice, and who seek.
const LEAVE: f64 = 0.02;
const SEEK: f64 = 0.01;

/// Part of the listeners who want the album when it comes out. It decays over 15 % of the trace.
const BURST: f64 = 0.25;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// The track.
    pub(crate) track: u32,
    /// The slice of it.
    pub(crate) part: u32,
    /// The slice's size.
    pub(crate) bytes: u32,
}

impl Access {
    /// Which slice, as one number.
    pub(crate) fn slice(&self) -> u64 {
        u64::from(self.track) << 32 | u64::from(self.part)
    }
}

/// The listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) seed: u64,
    /// Tracks played, one a session.
    pub(crate) sessions: usize,
    /// Tracks of the catalogue.
    pub(crate) tracks: usize,
    /// The Zipf distribution's exponent.
    pub(crate) skew: f64,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            seed: 1,
            sessions: 400_000,
            tracks: 100_000,
            skew: 0.9,
        }
    }
}

/// A listener at work: when the next request comes (milliseconds), a tie-breaker, the track, the
/// next slice, and the slice not asked for any more.
type Session = Reverse<(u64, usize, usize, u32, u32)>;

impl Listeners {
    /// All their requests in order.
    pub(crate) fn trace(&self) -> Vec<Access> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let sizes: Vec<u32> = (0..self.tracks + ALBUM).map(|_| size(&mut rng)).collect();
        let popularity = self.popularity();
        let mut sessions: BinaryHeap<Session> = BinaryHeap::new();
        let mut trace = Vec::new();
        let (mut arrived, mut next_ms) = (0, 0.0);
        loop {
            let due = sessions.peek().map(|Reverse(session)| session.0);
            if arrived < self.sessions && due.is_none_or(|due| next_ms as u64 <= due) {
                arrived += 1;
                let track = self.choose(arrived, &popularity, &mut rng);
                let until = patience(sizes[track].div_ceil(SLICE), &mut rng);
                sessions.push(Reverse((next_ms as u64, arrived, track, 0, until)));
                next_ms -= rng.random::<f64>().max(1e-12).ln() / ARRIVALS * 1000.0;
                continue;
            }
            let Some(Reverse((now, who, track, part, until))) = sessions.pop() else {
                return trace;
            };
            trace.push(Access {
                track: u32::try_from(track).unwrap_or(0),
                part,
                bytes: SLICE.min(sizes[track] - part * SLICE),
            });
            let seek = match rng.random_bool(SEEK) {
                true => rng.random_range(1..=6),
                false => 0,
            };
            let next = part + 1 + seek;
            if next < until {
                let wait = match next {
                    // Players fill their buffer first.
                    1 => 200.0,
                    _ => SLICE_MS * rng.random_range(0.9..1.1),
                };
                sessions.push(Reverse((now + wait as u64, who, track, next, until)));
            }
        }
    }

    /// The distribution, summed up.
    fn popularity(&self) -> Vec<f64> {
        let weights = (1..=self.tracks).map(|rank| (rank as f64).powf(-self.skew));
        weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect()
    }

    fn choose(&self, arrived: usize, popularity: &[f64], rng: &mut StdRng) -> usize {
        let since = arrived.saturating_sub(self.sessions / 2) as f64;
        let burst = match since > 0.0 {
            true => BURST * (-since / (0.15 * self.sessions as f64)).exp(),
            false => 0.0,
        };
        if rng.random_bool(burst) {
            // Its first tracks are played most.
            let at = rng.random::<f64>() * rng.random::<f64>();
            return self.tracks + (at * ALBUM as f64) as usize;
        }
        let at = rng.random::<f64>() * popularity.last().copied().unwrap_or(1.0);
        popularity
            .partition_point(|sum| *sum < at)
            .min(self.tracks - 1)
    }
}

/// A track's size: about log-normal around three and a half minutes at 128 kbit/s.
fn size(rng: &mut StdRng) -> u32 {
    let normal = (0..6).map(|_| rng.random::<f64>()).sum::<f64>() - 3.0;
    (3.3e6 * (normal * 0.65).exp()) as u32
}

/// How many of a track's slices a listener stays for.
fn patience(parts: u32, rng: &mut StdRng) -> u32 {
    if rng.random_bool(SKIP) {
        return rng.random_range(1..=2).min(parts);
    }
    (1..parts).find(|_| rng.random_bool(LEAVE)).unwrap_or(parts)
}
