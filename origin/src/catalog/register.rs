//! Entering published tracks.

use std::time::{SystemTime, UNIX_EPOCH};

use manifests::Track;
use sqlx::{Sqlite, Transaction};

use super::{
    Catalog, Error,
    identity::{Named, Place, fold},
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
        let since_1970 = published.duration_since(UNIX_EPOCH).unwrap_or_default();
        let published_ms = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
        let mut tx = self.db.write.begin_with("BEGIN IMMEDIATE").await?;
        let out: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM taken_down WHERE track_id = ?)")
                .bind(&track.id.0)
                .fetch_one(&mut *tx)
                .await?;
        if out {
            return Err(Error::TakenDown(track.id.clone()));
        }
        let current: Option<(String, i64)> =
            sqlx::query_as("SELECT revision, registered_ms FROM tracks WHERE id = ?")
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
            Some((_, ms)) => newest || published_ms > *ms,
        };
        if wins {
            place(&mut tx, track, published_ms).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whether that revision has ever been entered.
    pub(super) async fn has(&self, track: &str, revision: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM revisions WHERE track_id = ? AND revision = ?)",
        )
        .bind(track)
        .bind(revision)
        .fetch_one(&self.db.read)
        .await
    }
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
    let detail = serde_json::to_string(&Detail::of(track)).map_err(manifests::JsonError::from)?;
    let folded = fold(&format!(
        "{}\n{}\n{}",
        track.tags.title, artist.name, album.name
    ));
    sqlx::query(
        "INSERT OR REPLACE INTO tracks (id, revision, album_id, artist_id, title, artist, \
         track_number, disc_number, date, duration_s, cover, detail, folded, registered_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}
