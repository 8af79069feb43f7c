//! What becomes of a job after an attempt. Pure: the time and chance are parameters.

use std::time::Duration;

use super::{Failure, Outcome, State};

/// Attempts before a job is given up.
pub(super) const MAX_ATTEMPTS: u32 = 5;

/// Wait after the first failed attempt; each further one waits four times as long.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) state: State,
    pub(super) wait: Duration,
    pub(super) reason: Option<String>,
    pub(super) error: Option<String>,
}

/// After an attempt that a worker saw to its end. `chance` is uniform in 0..1.
pub(super) fn after(outcome: &Outcome, attempts: u32, max_attempts: u32, chance: f64) -> Next {
    let Some(worst) = outcome
        .failures
        .iter()
        .max_by_key(|failure| u8::from(failure.transient))
    else {
        return Next {
            state: State::Done,
            wait: Duration::ZERO,
            reason: None,
            error: None,
        };
    };
    let (reason, error) = words(worst, outcome.failures.len());
    let again = worst.transient && attempts < max_attempts;
    Next {
        state: if again { State::Queued } else { State::Dead },
        wait: if again {
            wait(attempts, chance)
        } else {
            Duration::ZERO
        },
        reason: Some(reason),
        error: Some(error),
    }
}

/// After an attempt whose worker was not heard of any more.
pub(super) fn lost(worker: &str, attempts: u32, max_attempts: u32) -> Next {
    let again = attempts < max_attempts;
    Next {
        state: if again { State::Queued } else { State::Dead },
        wait: Duration::ZERO,
        reason: Some("worker_lost".to_owned()),
        error: Some(format!("worker {worker} was not heard of any more")),
    }
}

fn words(failure: &Failure, failures: usize) -> (String, String) {
    let others = match failures {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let error = format!("{} {}{others}", failure.source, failure.error);
    (failure.reason.clone(), error)
}

/// Between half of the wait and all of it, so that jobs that failed together don't return so.
fn wait(attempts: u32, chance: f64) -> Duration {
    let factor = 4_u32.saturating_pow(attempts.saturating_sub(1));
    let whole = FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT);
    whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(transient: &[bool]) -> Outcome {
        let failure = |(n, transient): (usize, &bool)| Failure {
            source: format!("{n}.flac"),
            reason: "because".into(),
            error: "is so".into(),
            transient: *transient,
        };
        Outcome {
            tracks: Vec::new(),
            failures: transient.iter().enumerate().map(failure).collect(),
        }
    }

    #[test]
    fn faults_of_the_file_are_final_and_others_are_tried_again() {
        assert_eq!(after(&failing(&[]), 1, 5, 0.0).state, State::Done);
        let dead = after(&failing(&[false, false]), 1, 5, 0.0);
        assert_eq!(dead.state, State::Dead);
        assert_eq!(dead.error.as_deref(), Some("1.flac is so (and 1 more)"));
        assert_eq!(
            after(&failing(&[false, true]), 1, 5, 0.0).state,
            State::Queued
        );
        assert_eq!(after(&failing(&[true]), 5, 5, 0.0).state, State::Dead);
        assert_eq!(lost("w", 5, 5).state, State::Dead);
        assert_eq!(lost("w", 4, 5).state, State::Queued);
    }

    #[test]
    fn waits_grow_within_bounds() {
        let seconds: Vec<u64> = (1..8).map(|n| wait(n, 1.0).as_secs()).collect();
        assert_eq!(seconds, [15, 60, 240, 960, 3600, 3600, 3600]);
        assert_eq!(wait(1, 0.0).as_millis(), 7500);
        assert_eq!(wait(u32::MAX, 1.0), LONGEST_WAIT);
    }
}
