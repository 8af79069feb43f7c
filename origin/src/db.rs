//! SQLite databases, one a service: durable, shared with other processes, migrated on opening.

use std::{path::Path, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for reading; SQLite has one writer.
const READERS: u32 = 4;

/// A database in WAL mode with `synchronous=FULL`: what a transaction commits survives a power
/// cut, and readers never wait for the writer.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    /// For queries.
    pub(crate) read: SqlitePool,
    /// For transactions; one connection, so that writers of this process queue here.
    pub(crate) write: SqlitePool,
}

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    #[error(transparent)]
    Sqlite(#[from] sqlx::Error),
    #[error(
        "its schema is version {found}, this version of segue knows up to {known}; upgrade segue"
    )]
    Newer { found: i64, known: i64 },
}

impl Db {
    /// Opens or creates the file and applies the migrations it lacks. Migration `n` of the list
    /// takes the schema from version `n` to `n + 1`; published ones never change.
    pub(crate) async fn open(path: &Path, migrations: &[&'static str]) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(BUSY_TIMEOUT * 2)
        };
        let write = pool(1).connect_with(options.clone()).await?;
        migrate(&write, migrations).await?;
        let read = pool(READERS).connect_with(options).await?;
        Ok(Self { read, write })
    }

    /// Closes all connections, which checkpoints the log.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

async fn migrate(pool: &SqlitePool, migrations: &[&'static str]) -> Result<(), DbError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *tx)
        .await?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(DbError::Newer { found, known });
    }
    for (version, sql) in (1i64..).zip(migrations) {
        if version > found {
            sqlx::raw_sql(*sql).execute(&mut *tx).await?;
            let stamp = format!("PRAGMA user_version = {version}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(stamp))
                .execute(&mut *tx)
                .await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
