//! Entering published tracks.

use std::time::{SystemTime, UNIX_EPOCH};

use manifests::Track;
use sha2::{Digest as _, Sha256};
use sqlx::{Sqlite, Transaction};

use super::{
    Catalog, Error,
    identity::{Named, Place, fold},
    remove::forsake,
    wire::Detail,
};

impl Catalog {
    /// Enters a published track and makes this revision the one to play. Doing it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Track`] for an index that contradicts itself, [`Error::TakenDown`],
    /// [`Error::Database`].
    ///
    /// Cancel-safe: a track is entered wholly or not at all.
    pub async fn register(&self, track: &Track) -> Result<(), Error> {
        self.enter(track, SystemTime::now(), true).await
    }

    /// Enters a track; `published` decides between revisions unless `newest` says that it wins.
    pub(super) async fn enter(
        &self,
        track: &Track,
        published: SystemTime,
        newest: bool,
    ) -> Result<(), Error> {
        track.check()?;
        let published_ms = millis(published);
        let mut tx = self.db.write.begin_with("BEGIN IMMEDIATE").await?;
        let out: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM taken_down WHERE track_id = ?)")
                .bind(&track.id.0)
                .fetch_one(&mut *tx)
                .await?;
        if out {
            return Err(Error::TakenDown(track.id.clone()));
        }
        let current: Option<Current> =
            sqlx::query_as("SELECT registered_ms, album_id, artist_id FROM tracks WHERE id = ?")
                .bind(&track.id.0)
                .fetch_optional(&mut *tx)
                .await?;
        sqlx::query(
            "INSERT INTO revisions (track_id, revision) VALUES (?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(&track.id.0)
        .bind(&track.revision.0)
        .execute(&mut *tx)
        .await?;
        let wins = match &current {
            None => true,
            Some(current) => newest || published_ms > current.registered_ms,
        };
        if wins {
            place(&mut tx, track, published_ms).await?;
            if let Some(Current {
                album_id,
                artist_id,
                ..
            }) = current
            {
                // Other tags may have left an album or an artist without a track.
                forsake(&mut tx, &album_id, &artist_id).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whether the index of that revision, last written then, has been entered: it is replaced
    /// where the track's tags change.
    pub(super) async fn has(
        &self,
        track: &str,
        revision: &str,
        written: SystemTime,
    ) -> Result<bool, sqlx::Error> {
        let entered = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM revisions WHERE track_id = ?1 AND revision = ?2) \
             AND NOT EXISTS (SELECT 1 FROM tracks WHERE id = ?1 AND revision = ?2 \
             AND registered_ms < ?3)",
        );
        entered
            .bind(track)
            .bind(revision)
            .bind(millis(written))
            .fetch_one(&self.db.read)
            .await
    }
}

/// The entry that a track has.
#[derive(sqlx::FromRow)]
struct Current {
    registered_ms: i64,
    album_id: String,
    artist_id: String,
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

async fn place(
    tx: &mut Transaction<'_, Sqlite>,
    track: &Track,
    published_ms: i64,
) -> Result<(), Error> {
    let Place {
        album,
        album_artist,
        artist,
    } = Place::of(&track.tags);
    for Named { id, name, sort } in [&album_artist, &artist] {
        sqlx::query(
            "INSERT INTO artists (id, name, sort, folded) VALUES (?, ?, ?, ?) \
             ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(name)
        .bind(sort)
        .bind(fold(name))
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query(
        "INSERT INTO albums (id, artist_id, title, sort, folded) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&album.id)
    .bind(&album_artist.id)
    .bind(&album.name)
    .bind(&album.sort)
    .bind(fold(&format!("{}\n{}", album.name, album_artist.name)))
    .execute(&mut **tx)
    .await?;
    let edition = hex::encode(&Sha256::digest(track.to_json()?)[..8]);
    let detail = serde_json::to_string(&Detail::of(track)).map_err(manifests::JsonError::from)?;
    let folded = fold(&format!(
        "{}\n{}\n{}",
        track.tags.title, artist.name, album.name
    ));
    sqlx::query(
        "INSERT OR REPLACE INTO tracks (id, revision, album_id, artist_id, title, artist, \
         track_number, disc_number, date, duration_s, cover, detail, folded, registered_ms, \
         cover_name, edition) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&track.id.0)
    .bind(&track.revision.0)
    .bind(&album.id)
    .bind(&artist.id)
    .bind(&track.tags.title)
    .bind(&artist.name)
    .bind(track.tags.track_number)
    .bind(track.tags.disc_number)
    .bind(&track.tags.date)
    .bind(track.duration_s)
    .bind(track.cover.is_some())
    .bind(&detail)
    .bind(&folded)
    .bind(published_ms)
    .bind(track.cover.as_ref().map(|cover| &cover.name))
    .bind(&edition)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
