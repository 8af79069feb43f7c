//! Puts sources into the queue, those that belong together into one job.

use std::path::PathBuf;

use origin::jobs::{Job, MAX_SOURCES, NewJob, Queue};
use transcoder::Isolation;

/// Puts files, and those below folders, into the queue: an album a job, other files each a job.
///
/// # Errors
/// Where the queue refuses or fails; what was put in before stays.
pub(crate) async fn files(
    queue: &dyn Queue,
    paths: Vec<PathBuf>,
    priority: i32,
    isolation: Isolation,
) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for set in transcoder::albums(paths, isolation).await? {
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
    Ok(jobs)
}
