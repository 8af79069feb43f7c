//! A complete album, or a single track, is made visible.

use std::{sync::Arc, time::Duration};

use manifests::Track;

use super::{
    Task, blocking,
    run::{Member, Ready, Run},
};
use crate::{
    Error,
    event::{Change, Event},
    identity::Place,
    isolate::OnProgress,
    loudness,
    publish::Shelf,
};

/// From then on renditions without an index may be taken for left behind: far less than what a
/// collection grants them.
const WAITED_LONG: Duration = Duration::from_secs(600);

impl Run {
    /// Publishes a complete group, with its album loudness where it is an album.
    pub(super) async fn publish(self: &Arc<Self>, members: Vec<Member>) {
        let album = self.album(&members).await;
        for Member { task, ready } in members {
            let (place, result) = match ready {
                Ready::Twin => continue,
                Ready::Known { track } => {
                    let place = Place {
                        track: track.id.clone(),
                        revision: track.revision.clone(),
                    };
                    (place, Ok((track, Change::Nothing)))
                }
                Ready::Retagged {
                    shelf,
                    mut track,
                    before,
                } => {
                    if album.is_some() || has_moved(&track, &before) {
                        track.loudness.album = album;
                    }
                    let stored = replace(&shelf, &track, &before).await;
                    (
                        shelf.place,
                        stored.map(|()| (Arc::new(*track), Change::Tags)),
                    )
                }
                Ready::New {
                    shelf,
                    mut track,
                    stored,
                    ..
                } => {
                    track.loudness.album = album;
                    let waited = stored.elapsed() >= WAITED_LONG;
                    let noted = task.file.bytes >= self.config.checkpoint_from;
                    let stored = publish(&shelf, &track, waited, noted).await;
                    (
                        shelf.place,
                        stored.map(|()| (Arc::new(*track), Change::Track)),
                    )
                }
            };
            match result {
                Ok((track, change)) => self.published(&task, &place, &track, change).await,
                Err(error) => {
                    self.release_failed(&place, &error).await;
                    self.failed(&task, &Arc::new(error)).await;
                }
            }
        }
    }

    async fn published(&self, task: &Task, place: &Place, track: &Arc<Track>, change: Change) {
        let twins = {
            let mut state = self.state.lock();
            let twins = state.claims.remove(&place.track).unwrap_or_default();
            let report = &mut state.report;
            report.unchanged += twins.len();
            match change {
                Change::Track => {
                    report.published += 1;
                    report.audio_s += track.duration_s;
                }
                Change::Tags => report.updated += 1,
                Change::Nothing => report.unchanged += 1,
            }
            twins
        };
        let event = |job, change| Event::Published {
            job,
            track: track.clone(),
            change,
        };
        self.emit(event(task.job, change)).await;
        for twin in twins {
            self.emit(event(twin.job, Change::Nothing)).await;
        }
    }

    /// The loudness of two or more tracks as one programme, if any of them is new on the album.
    /// Tracks published before are decoded once more for it.
    async fn album(self: &Arc<Self>, members: &[Member]) -> Option<manifests::R128> {
        let tracks = members
            .iter()
            .filter(|m| !matches!(m.ready, Ready::Twin))
            .count();
        let fresh = members.iter().any(|m| match &m.ready {
            Ready::New { .. } => true,
            Ready::Retagged { track, before, .. } => has_moved(track, before),
            Ready::Known { .. } | Ready::Twin => false,
        });
        if tracks < 2 || !fresh {
            return None;
        }
        let mut known = Vec::new();
        for member in members
            .iter()
            .filter(|m| matches!(m.ready, Ready::Known { .. } | Ready::Retagged { .. }))
        {
            let (run, path) = (self.clone(), member.task.file.path.clone());
            let measure = move || {
                let go_on: OnProgress<'_> = &|_, _| run.check();
                run.config
                    .isolation
                    .measure(&path, &run.config.limits, go_on)
            };
            match blocking(measure).await {
                Ok(state) => known.push(state),
                Err(error) => {
                    tracing::warn!(path = %member.task.file.path.display(), %error, "not measured");
                }
            }
        }
        let new = members.iter().filter_map(|m| match &m.ready {
            Ready::New { meter, .. } => Some(meter.as_ref()),
            _ => None,
        });
        Some(loudness::album(new.chain(&known)))
    }
}

/// Makes a track exist.
async fn publish(shelf: &Shelf, track: &Track, waited: bool, noted: bool) -> Result<(), Error> {
    shelf.index(track).await?;
    if waited || noted {
        shelf.confirm(track).await?;
    }
    if noted {
        // Notes that stay would only lie about.
        shelf.forget(&track.renditions).await?;
    }
    Ok(())
}

/// Whether the tags put the track on another album.
fn has_moved(track: &Track, before: &Track) -> bool {
    let album = |track: &Track| (track.tags.album.clone(), track.tags.album_artist.clone());
    album(track) != album(before)
}

/// Gives a published track its new index. A cover that it had before goes last: who has the index
/// of a moment ago may still ask for it.
async fn replace(shelf: &Shelf, track: &Track, before: &Track) -> Result<(), Error> {
    shelf.index(track).await?;
    match &before.cover {
        Some(old) if track.cover.as_ref().is_none_or(|new| new.name != old.name) => {
            shelf.uncover(old).await
        }
        _ => Ok(()),
    }
}
