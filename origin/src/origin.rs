//! The origin put together: data, services, router.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use storage::ObjectStore;
use tokens::Keyset;
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Service,
    accounts::{self, Keys, KeysError, Policy},
    catalog::{self, Catalog, Reconciled},
    db::DbError,
    error::ApiError,
    jobs::{self, Jobs},
    media,
    metrics::Metrics,
    openapi,
    operate::{self, Operate},
    playlists::{self, Playlists},
    serve,
    tracks::Tracks,
    uploads::{self, Staging},
    web,
};

/// Bytes of a request's body, at most: a playlist of 10,000 items in a new order has 240 KB.
const MAX_BODY_BYTES: usize = 512 << 10;
/// How long a request may take until its answer's headers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An origin: data opened, ready to serve.
#[derive(Debug)]
pub struct Origin {
    config: Config,
    pub(crate) store: Arc<dyn ObjectStore>,
    keys: Arc<Keys>,
    pub(crate) catalog: Catalog,
    playlists: Playlists,
    jobs: Jobs,
    staging: Staging,
    worker_key: jobs::Key,
    operate: Arc<Operate>,
}

/// Failures of opening or running an origin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory can't be made.
    #[error("data directory {path}: {source}")]
    Data {
        /// The directory.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A database can't be used.
    #[error("database {name} in the data directory: {source}")]
    Database {
        /// The file's name.
        name: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The signing key can't be read or made.
    #[error(transparent)]
    Keys(Box<dyn std::error::Error + Send + Sync>),
    /// The listener failed.
    #[error("listener: {0}")]
    Listener(#[from] std::io::Error),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] storage::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
}

impl From<KeysError> for Error {
    fn from(error: KeysError) -> Self {
        Error::Keys(Box::new(error))
    }
}

impl Origin {
    /// Opens the data directory, making databases and keys where there are none. Several
    /// processes may have one open at once.
    ///
    /// # Errors
    /// Any [`Error`]; the text names the file.
    pub async fn open(config: Config, store: Arc<dyn ObjectStore>) -> Result<Self, Error> {
        let data = config.data.clone();
        tokio::fs::create_dir_all(&data)
            .await
            .map_err(|source| Error::Data {
                path: data.display().to_string(),
                source,
            })?;
        let database = |name| {
            move |e: DbError| Error::Database {
                name,
                source: Box::new(e),
            }
        };
        let catalog = Catalog::open(&data).await.map_err(database("catalog.db"))?;
        let playlists = Playlists::open(&data)
            .await
            .map_err(database("playlists.db"))?;
        let jobs = Jobs::open(&data).await.map_err(database("jobs.db"))?;
        let keys = Arc::new(Keys::open(&data)?);
        let worker_key = jobs::Key::open(&data).map_err(|source| Error::Keys(Box::new(source)))?;
        let operate = Arc::new(Operate {
            catalog: catalog.clone(),
            metrics: Arc::new(Metrics::default()),
            draining: AtomicBool::new(false),
        });
        let staging = Staging::new(&data, config.uploads, jobs.clone());
        Ok(Self {
            config,
            staging,
            store,
            keys,
            catalog,
            playlists,
            jobs,
            worker_key,
            operate,
        })
    }

    /// The catalogue, for entering tracks.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The queue of ingest jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// What edges verify tokens with.
    pub fn keyset(&self) -> Keyset {
        self.keys.public().clone()
    }

    /// Enters the published tracks that the catalogue lacks and says how many those were. Ones
    /// that can't be read are logged and passed over.
    ///
    /// # Errors
    /// As [`Catalog::reconcile`].
    pub async fn reconcile(&self) -> Result<u64, Error> {
        let Reconciled {
            found,
            registered,
            failed,
        } = self.catalog.reconcile(&*self.store).await?;
        tracing::debug!(
            found,
            registered,
            failed,
            "catalogue reconciled with the object store"
        );
        Ok(registered)
    }

    /// The routes of the services that this process answers for.
    ///
    /// Every service's data lives in this process for now: leaving one out closes its routes.
    pub fn router(&self) -> Router {
        let revisions = Arc::new(self.catalog.clone());
        let tracks = Arc::new(Tracks::new(Arc::clone(&self.store), revisions.clone()));
        let mut routers: BTreeMap<Service, Router> = BTreeMap::from([
            (Service::Media, media::router(Arc::clone(&tracks))),
            (
                Service::Accounts,
                accounts::router(Arc::clone(&self.keys), self.policy()),
            ),
            (Service::Catalog, catalog::router(self.catalog.clone())),
            (
                Service::Playlists,
                playlists::router(self.playlists.clone(), revisions, tracks),
            ),
            (
                Service::Search,
                catalog::search_router(self.catalog.clone()),
            ),
            (Service::Web, web::router()),
            (
                Service::Jobs,
                jobs::router(
                    self.jobs.clone(),
                    self.worker_key.clone(),
                    Arc::new(self.catalog.clone()),
                    Arc::clone(&self.store),
                )
                .merge(uploads::router(
                    self.staging.clone(),
                    self.worker_key.clone(),
                )),
            ),
        ]);
        routers.retain(|service, _| self.config.services.contains(service));
        let mut router = openapi::router().merge(operate::router(Arc::clone(&self.operate)));
        if !routers.contains_key(&Service::Web) {
            router =
                router.fallback(async |request: Request| crate::not_found(request.uri().path()));
        }
        for (_, service) in routers {
            router = router.merge(service);
        }
        router
            .method_not_allowed_fallback(async || {
                let message =
                    "this method does nothing here; /api/openapi.json lists those that do";
                ApiError::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    message,
                )
            })
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn_with_state(
                Arc::clone(&self.operate.metrics),
                outermost,
            ))
    }

    /// Serves HTTP/1.1 and HTTP/2 in plain text until `cancel`, then finishes what is in progress.
    ///
    /// # Errors
    /// [`Error::Listener`].
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        cancel: CancellationToken,
    ) -> Result<(), Error> {
        let drained = cancel.clone();
        let operate = Arc::clone(&self.operate);
        let staging = self.staging.clone();
        let sweeps = tokio::spawn(async move {
            loop {
                if let Err(error) = staging.sweep(SystemTime::now()).await {
                    tracing::warn!(%error, "uploads can't be swept");
                }
                time::sleep(uploads::SWEEP).await;
            }
        });
        let watch = tokio::spawn(async move {
            drained.cancelled().await;
            operate.draining.store(true, Ordering::Relaxed);
        });
        let served = serve::serve(listener, self.router(), cancel).await;
        watch.abort();
        sweeps.abort();
        Ok(served?)
    }

    /// Closes the databases. Further requests fail.
    pub async fn close(&self) {
        self.catalog.close().await;
        self.playlists.close().await;
        self.jobs.close().await;
    }

    fn policy(&self) -> Policy {
        Policy {
            anonymous: self.config.anonymous_listening,
            ttl: self.config.session_ttl,
        }
    }
}

/// Around every request: a limit on waiting, a count, and headers that all answers share.
async fn outermost(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // A file comes as slowly as its sender's network is; that it comes at all is looked at there.
    let limit = match method == Method::PATCH && path.starts_with("/api/v1/uploads/") {
        true => uploads::LONGEST_PATCH,
        false => REQUEST_TIMEOUT,
    };
    let mut response = match time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = "the origin took too long; try again in a moment";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message).into_response()
        }
    };
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());
    metrics.request(route, &method, status, elapsed);
    tracing::debug!(%method, path, status, ?elapsed, "request");
    let nosniff = HeaderName::from_static("x-content-type-options");
    response
        .headers_mut()
        .insert(nosniff, HeaderValue::from_static("nosniff"));
    response
}
