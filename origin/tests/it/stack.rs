//! A running origin.

use std::sync::Arc;

use manifests::{Tags, Track};
use origin::{Config, Origin};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{client::Client, memory::Memory, sample};

/// An origin on a free port, with a data directory and a store of its own.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) client: Client,
    pub(crate) origin: Arc<Origin>,
    pub(crate) store: Arc<Memory>,
    pub(crate) data: TempDir,
    cancel: CancellationToken,
    served: JoinHandle<()>,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configure).await
    }

    /// On data that another has left.
    pub(crate) async fn start_in(data: TempDir, configure: impl FnOnce(&mut Config)) -> Self {
        let store = Arc::new(Memory::default());
        let mut config = Config::at(data.path());
        configure(&mut config);
        let origin = Arc::new(Origin::open(config, store.clone()).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(listener.local_addr().unwrap());
        let cancel = CancellationToken::new();
        let (serving, token) = (Arc::clone(&origin), cancel.clone());
        let served = tokio::spawn(async move { serving.serve(listener, token).await.unwrap() });
        Self {
            client,
            origin,
            store,
            data,
            cancel,
            served,
        }
    }

    /// Publishes and registers a track.
    pub(crate) async fn add(&self, n: u32, tags: Tags) -> Track {
        let track = sample::track(n, tags);
        sample::publish(&*self.store, &track).await;
        self.origin.catalog().register(&track).await.unwrap();
        track
    }

    /// Stops, and waits until all is closed.
    pub(crate) async fn stop(self) -> TempDir {
        self.cancel.cancel();
        self.served.await.unwrap();
        self.origin.close().await;
        self.data
    }
}
