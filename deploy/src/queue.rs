//! The queue of ingest jobs, wherever it is: in the data directory, or at an origin.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use clap::Args as ClapArgs;
use origin::{
    Origin,
    jobs::{Error, Job, Lease, NewJob, Outcome, Queue, State, Verdict},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use storage::ObjectStore;

use crate::{data::DataDir, purge::http_call_within};

/// How long an origin may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which queue.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct QueueArgs {
    /// An origin whose queue it is: http://10.0.0.2:8000 [default: that of the data directory].
    #[arg(long, env = "SEGUE_QUEUE", value_name = "URL", requires = "queue_key")]
    queue: Option<String>,

    /// The file with that origin's key: keys/worker.key in its data.
    #[arg(long, env = "SEGUE_QUEUE_KEY", value_name = "FILE")]
    queue_key: Option<PathBuf>,
}

impl QueueArgs {
    /// Whether the queue is an origin's elsewhere.
    pub(crate) fn is_remote(&self) -> bool {
        self.queue.is_some()
    }

    /// The queue of an origin elsewhere, if one is named.
    ///
    /// # Errors
    /// Where the key can't be read.
    pub(crate) fn remote(&self) -> anyhow::Result<Option<Arc<dyn Queue>>> {
        let (Some(base), Some(file)) = (&self.queue, &self.queue_key) else {
            return Ok(None);
        };
        let key = std::fs::read_to_string(file)
            .with_context(|| format!("can't read the key {}", file.display()))?;
        Ok(Some(Arc::new(Remote {
            base: base.trim_end_matches('/').to_owned(),
            key: key.trim().to_owned(),
        })))
    }

    /// The queue, by whatever way.
    ///
    /// # Errors
    /// Where the key can't be read or the database can't be opened.
    pub(crate) async fn open(
        &self,
        data: &DataDir,
        store: Arc<dyn ObjectStore>,
    ) -> anyhow::Result<Arc<dyn Queue>> {
        match self.remote()? {
            Some(queue) => Ok(queue),
            None => {
                let origin = Origin::open(origin::Config::at(data.origin()), store).await?;
                Ok(Arc::new(origin.jobs().clone()))
            }
        }
    }
}

/// The queue of an origin elsewhere.
struct Remote {
    base: String,
    key: String,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Remote {
    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, Error> {
        let path = format!("/api/v1/jobs{path}");
        let body = body.map(|body| body.to_string());
        let call = http_call_within(PATIENCE, method, &self.base, &path, Some(&self.key), body);
        let (status, text) = call
            .await
            .map_err(|error| Error::Unavailable(format!("{error:#}")))?;
        if (200..300).contains(&status) {
            return serde_json::from_str(&text)
                .map_err(|error| Error::Unavailable(format!("{}: {error}", self.base)));
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let words = said["error"]["message"]
            .as_str()
            .unwrap_or(&text)
            .to_owned();
        Err(match status {
            404 => Error::NotFound(words),
            400 | 401 | 409 | 422 => Error::Refused(words),
            _ => Error::Unavailable(format!("{} answered {status}: {words}", self.base)),
        })
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, Error> {
        self.call("POST", path, Some(body)).await
    }
}

#[async_trait]
impl Queue for Remote {
    async fn enqueue(&self, job: NewJob) -> Result<Job, Error> {
        let body = json!({ "sources": job.sources, "priority": job.priority, "key": job.key });
        self.post("", body).await
    }

    async fn claim(&self, worker: &str, lasts: Duration) -> Result<Option<Lease>, Error> {
        let body = json!({ "worker": worker, "lasts_s": lasts.as_secs_f64() });
        self.post("/claim", body).await
    }

    async fn heartbeat(&self, id: &str, lease: &str, progress: f64) -> Result<Verdict, Error> {
        let body = json!({ "lease": lease, "progress": progress });
        self.post(&format!("/{id}/heartbeat"), body).await
    }

    async fn finish(&self, id: &str, lease: &str, outcome: Outcome) -> Result<Verdict, Error> {
        let body = json!({ "lease": lease, "outcome": outcome });
        self.post(&format!("/{id}/finish"), body).await
    }

    async fn release(&self, id: &str, lease: &str) -> Result<Verdict, Error> {
        self.post(&format!("/{id}/release"), json!({ "lease": lease }))
            .await
    }

    async fn get(&self, id: &str) -> Result<Job, Error> {
        self.call("GET", &format!("/{id}"), None).await
    }

    async fn list(&self, state: Option<State>, limit: u32) -> Result<Vec<Job>, Error> {
        let state = state.map_or_else(String::new, |state| format!("&state={}", state.as_str()));
        self.call("GET", &format!("?limit={limit}{state}"), None)
            .await
    }

    async fn cancel(&self, id: &str) -> Result<Job, Error> {
        self.post(&format!("/{id}/cancel"), json!({})).await
    }

    async fn retry(&self, id: &str) -> Result<Job, Error> {
        self.post(&format!("/{id}/retry"), json!({})).await
    }
}
