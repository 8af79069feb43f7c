//! Which of the decoded frames are valid sound: encoder delay off the start, padding off the end.
//!
//! Owns only counting. Where the figures come from is the containers' business.

use super::chunk::Chunk;

/// How the end of the valid sound is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Everything that is decoded is valid.
    Open,
    /// Exactly so many frames are valid.
    Exactly(u64),
    /// An edit list says that so many frames are valid, to the precision of a movie tick. Up to
    /// `tick` frames beyond are valid if the sound ends there by itself.
    Edit {
        /// Valid frames.
        frames: u64,
        /// Frames that one tick of the movie timescale spans, rounded up.
        tick: u64,
    },
    /// The last `padding` frames are not valid. `frames` are, unless the header is stale (the file
    /// goes on for more than `slack` frames beyond): then all but the padding are.
    Padding {
        /// Valid frames by the header.
        frames: u64,
        /// Frames at the very end that are not valid.
        padding: u64,
        /// Frames beyond the end that may be garbage (trailing tags decoded as sound).
        slack: u64,
    },
}

/// Lets the valid frames through.
#[derive(Debug)]
pub(super) struct Window {
    skip: u64,
    tail: Tail,
    emitted: u64,
    held: Chunk,
    stale: bool,
}

impl Window {
    /// A window that drops `skip` frames at the start and ends as `tail` says.
    pub(super) fn new(skip: u64, tail: Tail) -> Window {
        Window {
            skip,
            tail,
            emitted: 0,
            held: Chunk::default(),
            stale: false,
        }
    }

    /// Frames let through so far.
    pub(super) fn emitted(&self) -> u64 {
        self.emitted
    }

    /// Takes decoded frames, returns those known to be valid (possibly none).
    pub(super) fn push(&mut self, mut chunk: Chunk) -> Chunk {
        let skipped = self.skip.min(chunk.frames() as u64);
        chunk.take_front(skipped as usize);
        self.skip -= skipped;
        if self.tail == Tail::Open {
            self.emitted += chunk.frames() as u64;
            return chunk;
        }
        self.held.append(chunk);
        let ready = self.ready();
        self.emit(ready)
    }

    /// The frames that turn out to be valid because nothing follows them.
    pub(super) fn finish(&mut self) -> Chunk {
        let held = self.held.frames() as u64;
        match self.tail {
            Tail::Edit { tick, .. } if held <= tick => self.emit(held),
            _ => Chunk::default(),
        }
    }

    /// How many of the held frames are valid whatever follows.
    fn ready(&mut self) -> u64 {
        let held = self.held.frames() as u64;
        match self.tail {
            Tail::Open => held,
            Tail::Exactly(frames) => {
                let ready = held.min(frames.saturating_sub(self.emitted));
                self.held.truncate(ready as usize);
                ready
            }
            Tail::Edit { frames, tick } => {
                let ready = held.min(frames.saturating_sub(self.emitted));
                self.held.truncate((ready + tick + 1) as usize);
                ready
            }
            Tail::Padding {
                frames,
                padding,
                slack,
            } => {
                let left = frames.saturating_sub(self.emitted);
                let ready = held.saturating_sub(padding);
                self.stale |= ready > left + slack;
                if self.stale { ready } else { ready.min(left) }
            }
        }
    }

    fn emit(&mut self, frames: u64) -> Chunk {
        self.emitted += frames;
        self.held.take_front(frames as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes 0, 1, 2… in chunks of 10 and returns the first and last frame let through.
    fn run(skip: u64, tail: Tail, total: usize) -> (u64, Option<f32>, Option<f32>) {
        let mut window = Window::new(skip, tail);
        let mut out = Vec::new();
        let ramp: Vec<f32> = (0..total).map(|n| n as f32).collect();
        for part in ramp.chunks(10) {
            out.extend(
                window
                    .push(Chunk::float(vec![part.to_vec()]))
                    .float
                    .concat(),
            );
        }
        out.extend(window.finish().float.concat());
        assert_eq!(out.len() as u64, window.emitted());
        (window.emitted(), out.first().copied(), out.last().copied())
    }

    #[test]
    fn every_tail_ends_where_it_should() {
        assert_eq!(run(5, Tail::Open, 100), (95, Some(5.0), Some(99.0)));
        assert_eq!(
            run(25, Tail::Exactly(30), 100),
            (30, Some(25.0), Some(54.0))
        );
        assert_eq!(run(5, Tail::Exactly(0), 100), (0, None, None));
    }

    #[test]
    fn an_edit_rounded_to_a_movie_tick_keeps_the_exact_end() {
        let edit = Tail::Edit {
            frames: 90,
            tick: 4,
        };
        assert_eq!(run(5, edit, 98), (93, Some(5.0), Some(97.0)));
        assert_eq!(run(5, edit, 120), (90, Some(5.0), Some(94.0)));
        assert_eq!(run(5, edit, 60), (55, Some(5.0), Some(59.0)));
    }

    #[test]
    fn padding_is_dropped_and_a_stale_header_is_not_believed() {
        let tail = Tail::Padding {
            frames: 80,
            padding: 7,
            slack: 20,
        };
        assert_eq!(run(10, tail, 97), (80, Some(10.0), Some(89.0)));
        assert_eq!(run(10, tail, 110), (80, Some(10.0), Some(89.0)));
        assert_eq!(run(10, tail, 200), (183, Some(10.0), Some(192.0)));
        assert_eq!(run(10, tail, 60), (43, Some(10.0), Some(52.0)));
    }
}
