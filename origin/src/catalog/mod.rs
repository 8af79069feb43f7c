//! The catalogue: which artists, albums and tracks there are.
//!
//! Owns `catalog.db`. It is a view of the published `track.json` objects and can be made anew from
//! them; it never changes one.

mod identity;
mod query;
mod reconcile;
mod register;
mod remove;
mod routes;
mod wire;

use std::{collections::HashMap, path::Path};

use async_trait::async_trait;
use http::StatusCode;
use manifests::{Revision, TrackId};
use serde_json::Value;
use storage::ObjectStore;

pub use reconcile::Reconciled;
pub(crate) use routes::{router, search_router};

use crate::{
    db::{Db, DbError},
    error::{ApiError, ApiResult},
    ports::{Current, Registry, Revisions, Summaries},
};

const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("taken_down.sql"),
    include_str!("editions.sql"),
];

/// The catalogue's data. Several processes may have it open at once.
#[derive(Clone, Debug)]
pub struct Catalog {
    db: Db,
}

/// Failures of the catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database failed.
    #[error("catalogue database: {0}")]
    Database(#[from] sqlx::Error),
    /// The track contradicts itself and is not registered.
    #[error(transparent)]
    Track(#[from] manifests::JsonError),
    /// The object store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The track was taken down and is not entered.
    #[error("track {0} was taken down")]
    TakenDown(TrackId),
}

impl Catalog {
    pub(crate) async fn open(data: &Path) -> Result<Self, DbError> {
        Ok(Self {
            db: Db::open(&data.join("catalog.db"), MIGRATIONS).await?,
        })
    }

    /// How many tracks there are.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn track_count(&self) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tracks")
            .fetch_one(&self.db.read)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1")
            .execute(&self.db.read)
            .await
            .map(|_| ())
    }
}

#[async_trait]
impl Revisions for Catalog {
    async fn current(&self, track: &TrackId) -> ApiResult<Option<Current>> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT revision, edition FROM tracks WHERE id = ?")
                .bind(&track.0)
                .fetch_optional(&self.db.read)
                .await?;
        Ok(row.map(|(revision, edition)| Current {
            revision: Revision(revision),
            edition,
        }))
    }

    async fn is_taken_down(&self, track: &TrackId) -> ApiResult<bool> {
        Ok(self.taken_down(track).await?)
    }
}

#[async_trait]
impl Registry for Catalog {
    async fn adopt(&self, store: &dyn ObjectStore, track: &str, revision: &str) -> ApiResult<()> {
        let adopted = reconcile::adopt_revision(self, store, track, revision).await;
        adopted.map_err(|error| match error {
            Error::Storage(storage::Error::NotFound(key)) => {
                ApiError::bad_request(format!("{key} is not in the store of this origin"))
            }
            Error::TakenDown(_) => {
                ApiError::new(StatusCode::CONFLICT, "taken_down", error.to_string())
            }
            other => ApiError::internal(other),
        })
    }
}

#[async_trait]
impl Summaries for Catalog {
    async fn summaries(&self, tracks: &[String]) -> ApiResult<HashMap<String, Value>> {
        let found = query::tracks_by_id(&self.db.read, tracks).await?;
        found
            .into_iter()
            .map(|t| {
                let id = t.id.clone();
                serde_json::to_value(t)
                    .map(|v| (id, v))
                    .map_err(ApiError::internal)
            })
            .collect()
    }
}
