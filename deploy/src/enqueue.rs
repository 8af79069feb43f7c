//! Puts sources into the queue, those that belong together into one job.

use origin::jobs::{Job, MAX_SOURCES, NewJob, Queue};
use transcoder::Isolation;

use crate::sources::Sources;

/// Puts files, and those below folders, into the queue: an album a job, other files each a job, and
/// so what has to be fetched.
///
/// # Errors
/// Where the queue refuses or fails; what was put in before stays.
pub(crate) async fn sources(
    queue: &dyn Queue,
    sources: Sources,
    priority: i32,
    isolation: Isolation,
) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for set in transcoder::albums(sources.paths, isolation).await? {
        for part in set.chunks(MAX_SOURCES) {
            let sources = part
                .iter()
                .map(|path| std::path::absolute(path).map(|path| path.display().to_string()))
                .collect::<Result<_, _>>()?;
            let job = NewJob {
                sources,
                priority,
                key: None,
            };
            jobs.push(queue.enqueue(job).await?);
        }
    }
    for source in sources.remote {
        let job = NewJob {
            sources: vec![source],
            priority,
            key: None,
        };
        jobs.push(queue.enqueue(job).await?);
    }
    Ok(jobs)
}
