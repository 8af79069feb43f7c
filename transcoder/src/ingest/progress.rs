//! Progress of a file, told in steps.

use super::run::Run;
use crate::event::{Event, Stage};

/// A step of several that look alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) done: usize,
    pub(super) of: usize,
}

impl Part {
    pub(super) const WHOLE: Part = Part { done: 0, of: 1 };
}

/// Tells progress in steps of a percent.
pub(super) struct Progress<'a> {
    part: Part,
    run: &'a Run,
    job: usize,
    stage: Stage,
    told: f64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(run: &'a Run, job: usize, stage: Stage, part: Part) -> Progress<'a> {
        Progress {
            part,
            run,
            job,
            stage,
            told: 0.0,
        }
    }

    pub(super) fn tell(&mut self, done: u64, total: Option<u64>) {
        let Some(total) = total.filter(|total| *total > 0) else {
            return;
        };
        let here = (done as f64 / total as f64).min(1.0);
        let fraction = (self.part.done as f64 + here) / self.part.of as f64;
        if fraction - self.told >= 0.01 || (fraction >= 1.0 && self.told < 1.0) {
            self.told = fraction;
            let (job, stage) = (self.job, self.stage);
            let _ = self.run.events.try_send(Event::Progress {
                job,
                stage,
                fraction,
            });
        }
    }
}
