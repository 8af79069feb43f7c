//! An ingest at work: its tasks, and what they share.

use std::{collections::HashMap, sync::Arc, time::Instant};

use manifests::{Track, TrackId};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{Config, Task};
use crate::{
    Error,
    albums::Waiting,
    event::{Event, Failure, Report},
    identity::Place,
    loudness,
    publish::Shelf,
};

/// What a file came to.
pub(super) enum Ready {
    /// Encoded and uploaded, all but `track.json`.
    New {
        shelf: Shelf,
        track: Box<Track>,
        /// When the last of it was stored.
        stored: Instant,
        meter: Box<loudness::State>,
    },
    /// Published before.
    Known { track: Arc<Track> },
    /// Published before, from a file of the same sound with other tags or another cover.
    Retagged {
        shelf: Shelf,
        /// As it is to be.
        track: Box<Track>,
        /// As it is.
        before: Box<Track>,
    },
    /// The same sound as another file of this ingest, which stands for both.
    Twin,
}

/// A track waiting for its album.
pub(super) struct Member {
    pub(super) task: Task,
    pub(super) ready: Ready,
}

/// What an ingest shares between its tasks.
pub(super) struct Run {
    pub(super) config: Config,
    pub(super) cancel: CancellationToken,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) encoders: Semaphore,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) waiting: Waiting<Member>,
    /// Tracks under way, and the other files with the same sound.
    pub(super) claims: HashMap<TrackId, Vec<Task>>,
    pub(super) report: Report,
}

impl Run {
    pub(super) async fn emit(&self, event: Event) {
        // The receiver outlives all tasks, or the ingest was dropped and nobody listens.
        let _ = self.events.send(event).await;
    }

    pub(super) async fn failed(&self, task: &Task, error: &Arc<Error>) {
        let failure = Failure {
            path: task.file.path.clone(),
            error: error.clone(),
        };
        let event = failure.event(task.job);
        self.state.lock().report.failures.push(failure);
        self.emit(event).await;
    }

    /// Works on the tasks, `at_once` at a time.
    pub(super) async fn all(self: &Arc<Self>, tasks: Vec<Task>, at_once: usize) {
        let mut running = JoinSet::new();
        for task in tasks {
            while running.len() >= at_once {
                running.join_next().await;
            }
            if self.cancel.is_cancelled() {
                break;
            }
            let run = self.clone();
            running.spawn(async move { run.one(task).await });
        }
        while running.join_next().await.is_some() {}
    }

    pub(super) async fn one(self: Arc<Self>, task: Task) {
        self.emit(Event::Started { job: task.job }).await;
        let member = match self.prepare(&task).await {
            Ok(ready) => Some(Member {
                task: task.clone(),
                ready,
            }),
            // The album stays incomplete, so none of it is published without its loudness.
            Err(Error::Cancelled) => return,
            Err(error) => {
                self.failed(&task, &Arc::new(error)).await;
                None
            }
        };
        let complete = self.state.lock().waiting.done(task.group, member);
        if let Some(members) = complete {
            self.publish(members).await;
        }
    }

    /// Whether the task is the first of this sound. If not, the first one speaks for it too.
    pub(super) fn claim(&self, place: &Place, task: &Task) -> bool {
        let mut state = self.state.lock();
        match state.claims.get_mut(&place.track) {
            Some(twins) => {
                twins.push(task.clone());
                false
            }
            None => {
                state.claims.insert(place.track.clone(), Vec::new());
                true
            }
        }
    }

    /// Twins of a file that failed would fail alike.
    pub(super) async fn release_failed(&self, place: &Place, error: &Error) {
        let twins = self
            .state
            .lock()
            .claims
            .remove(&place.track)
            .unwrap_or_default();
        if matches!(error, Error::Cancelled) {
            return;
        }
        let error = Arc::new(Error::Twin(error.to_string()));
        for twin in twins {
            self.failed(&twin, &error).await;
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }
}
