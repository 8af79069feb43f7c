//! The tables of playlists, and each change as one transaction.

use std::{
    collections::HashSet,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use http::StatusCode;
use rand::Rng as _;
use sqlx::{FromRow, Sqlite, Transaction};

use crate::{
    db::{Db, DbError},
    error::{ApiError, ApiResult},
};

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// Items of one playlist, at most.
pub(super) const MAX_ITEMS: usize = 10_000;
/// Playlists that one answer lists, at most.
const MAX_LISTED: i64 = 1_000;

/// The playlists' data.
#[derive(Clone, Debug)]
pub(crate) struct Playlists {
    db: Db,
}

/// A playlist without its items.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: i64,
    pub(super) item_count: i64,
}

/// A track's place in a playlist.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) track_id: String,
}

/// A playlist as stored.
#[derive(Clone, Debug)]
pub(super) struct Playlist {
    pub(super) head: Head,
    pub(super) items: Vec<Item>,
}

/// Which version a caller means to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Whatever is there.
    Any,
    /// One of these only.
    OneOf(Vec<i64>),
}

/// A change to a playlist.
#[derive(Debug)]
pub(super) enum Change {
    /// A new name.
    Rename(String),
    /// Tracks put before the item at index `at`, or at the end.
    Add {
        tracks: Vec<String>,
        at: Option<usize>,
    },
    /// An item taken out.
    Remove(String),
    /// All items, in their new order.
    Order(Vec<String>),
}

const HEAD: &str = "SELECT id, name, version, \
    (SELECT COUNT(*) FROM items WHERE playlist_id = playlists.id) AS item_count FROM playlists ";

impl Playlists {
    pub(crate) async fn open(data: &Path) -> Result<Self, DbError> {
        Ok(Self {
            db: Db::open(&data.join("playlists.db"), MIGRATIONS).await?,
        })
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }

    /// All, the last changed first.
    pub(super) async fn list(&self) -> ApiResult<Vec<Head>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{HEAD} ORDER BY changed_ms DESC, id LIMIT {MAX_LISTED}"
        ));
        Ok(sqlx::query_as(sql).fetch_all(&self.db.read).await?)
    }

    pub(super) async fn get(&self, id: &str) -> ApiResult<Playlist> {
        let mut tx = self.db.read.begin().await?;
        let head = head(&mut tx, id).await?;
        let items = items(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Playlist { head, items })
    }

    pub(super) async fn create(&self, name: &str) -> ApiResult<String> {
        let id = random_id('p');
        let now = now_ms();
        sqlx::query("INSERT INTO playlists (id, name, version, created_ms, changed_ms) VALUES (?, ?, 1, ?, ?)")
            .bind(&id)
            .bind(name)
            .bind(now)
            .bind(now)
            .execute(&self.db.write)
            .await?;
        Ok(id)
    }

    pub(super) async fn delete(&self, id: &str, expected: &Expected) -> ApiResult<()> {
        let mut tx = self.db.write.begin_with("BEGIN IMMEDIATE").await?;
        expected.check(head(&mut tx, id).await?.version)?;
        sqlx::query("DELETE FROM playlists WHERE id = ?")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes one change and counts the version up; all of it or nothing.
    pub(super) async fn change(
        &self,
        id: &str,
        expected: &Expected,
        change: &Change,
    ) -> ApiResult<()> {
        let mut tx = self.db.write.begin_with("BEGIN IMMEDIATE").await?;
        let before = head(&mut tx, id).await?;
        expected.check(before.version)?;
        match change {
            Change::Rename(name) => {
                let sql = sqlx::query("UPDATE playlists SET name = ? WHERE id = ?");
                sql.bind(name).bind(id).execute(&mut *tx).await?;
            }
            Change::Add { tracks, at } => add(&mut tx, &before, tracks, *at).await?,
            Change::Remove(item) => remove(&mut tx, id, item).await?,
            Change::Order(items) => order(&mut tx, id, items).await?,
        }
        sqlx::query("UPDATE playlists SET version = version + 1, changed_ms = ? WHERE id = ?")
            .bind(now_ms())
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Expected {
    fn check(&self, version: i64) -> ApiResult<()> {
        match self {
            Expected::OneOf(versions) if !versions.contains(&version) => Err(ApiError::new(
                StatusCode::PRECONDITION_FAILED,
                "changed_meanwhile",
                "someone changed the playlist meanwhile; load it again and repeat the change",
            )),
            _ => Ok(()),
        }
    }
}

type Tx<'t> = Transaction<'t, Sqlite>;

async fn head(tx: &mut Tx<'_>, id: &str) -> ApiResult<Head> {
    let sql = sqlx::AssertSqlSafe(format!("{HEAD} WHERE id = ?"));
    let head = sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?;
    head.ok_or_else(|| ApiError::not_found("there is no such playlist; see /api/v1/playlists"))
}

async fn items(tx: &mut Tx<'_>, id: &str) -> ApiResult<Vec<Item>> {
    let sql = "SELECT id, track_id FROM items WHERE playlist_id = ? ORDER BY position, id";
    Ok(sqlx::query_as(sql).bind(id).fetch_all(&mut **tx).await?)
}

async fn add(tx: &mut Tx<'_>, list: &Head, tracks: &[String], at: Option<usize>) -> ApiResult<()> {
    let count = usize::try_from(list.item_count).unwrap_or(usize::MAX);
    if count.saturating_add(tracks.len()) > MAX_ITEMS {
        let message = format!("a playlist holds {MAX_ITEMS} items at most; this one has {count}");
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "playlist_full",
            message,
        ));
    }
    let room = i64::try_from(tracks.len()).unwrap_or(i64::MAX);
    let next: Option<i64> = match at {
        Some(at) => {
            let sql = "SELECT position FROM items WHERE playlist_id = ? \
                       ORDER BY position, id LIMIT 1 OFFSET ?";
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            sqlx::query_scalar(sql)
                .bind(&list.id)
                .bind(at)
                .fetch_optional(&mut **tx)
                .await?
        }
        None => None,
    };
    let first = match next {
        Some(position) => {
            let sql = "UPDATE items SET position = position + ? \
                       WHERE playlist_id = ? AND position >= ?";
            let query = sqlx::query(sql).bind(room).bind(&list.id).bind(position);
            query.execute(&mut **tx).await?;
            position
        }
        None => {
            let sql = "SELECT COALESCE(MAX(position) + 1, 0) FROM items WHERE playlist_id = ?";
            sqlx::query_scalar(sql)
                .bind(&list.id)
                .fetch_one(&mut **tx)
                .await?
        }
    };
    for (position, track) in (first..).zip(tracks) {
        sqlx::query("INSERT INTO items (id, playlist_id, track_id, position) VALUES (?, ?, ?, ?)")
            .bind(random_id('i'))
            .bind(&list.id)
            .bind(track)
            .bind(position)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

async fn remove(tx: &mut Tx<'_>, list: &str, item: &str) -> ApiResult<()> {
    let query = sqlx::query("DELETE FROM items WHERE playlist_id = ? AND id = ?");
    let done = query.bind(list).bind(item).execute(&mut **tx).await?;
    if done.rows_affected() == 0 {
        return Err(ApiError::not_found(
            "the playlist has no such item; load it again",
        ));
    }
    Ok(())
}

async fn order(tx: &mut Tx<'_>, list: &str, order: &[String]) -> ApiResult<()> {
    let all: HashSet<String> = items(tx, list).await?.into_iter().map(|i| i.id).collect();
    let named: HashSet<&String> = order.iter().collect();
    let same = named.len() == order.len()
        && named.len() == all.len()
        && order.iter().all(|id| all.contains(id));
    if !same {
        let message = "`item_ids` must name each item of the playlist once; load it again";
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "not_a_permutation",
            message,
        ));
    }
    for (position, id) in (0i64..).zip(order) {
        let query = sqlx::query("UPDATE items SET position = ? WHERE id = ?");
        query.bind(position).bind(id).execute(&mut **tx).await?;
    }
    Ok(())
}

/// A letter and 16 random digits of Crockford's base32: 80 bits.
fn random_id(prefix: char) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut rng = rand::rng();
    let digits = (0..16).map(|_| char::from(DIGITS[rng.random_range(0..DIGITS.len())]));
    std::iter::once(prefix).chain(digits).collect()
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
