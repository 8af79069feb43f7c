//! Taking tracks out of the catalogue, for good or until that is lifted.

use manifests::TrackId;
use sqlx::{Sqlite, Transaction};

use super::{Catalog, Error};

impl Catalog {
    /// Takes a track out, with an album and artists that have no other, and lets it in no more.
    /// Doing it again changes nothing.
    ///
    /// Cancel-safe: it is out wholly or not at all.
    pub(crate) async fn take_down(&self, track: &TrackId) -> Result<(), Error> {
        let mut tx = self.db.write.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO taken_down (track_id) VALUES (?) ON CONFLICT DO NOTHING")
            .bind(&track.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM revisions WHERE track_id = ?")
            .bind(&track.0)
            .execute(&mut *tx)
            .await?;
        let row: Option<(String, String)> =
            sqlx::query_as("DELETE FROM tracks WHERE id = ? RETURNING album_id, artist_id")
                .bind(&track.0)
                .fetch_optional(&mut *tx)
                .await?;
        if let Some((album_id, artist_id)) = row {
            forsake(&mut tx, &album_id, &artist_id).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lets a track in again. It is there when it is next published.
    pub(crate) async fn lift(&self, track: &TrackId) -> Result<(), Error> {
        sqlx::query("DELETE FROM taken_down WHERE track_id = ?")
            .bind(&track.0)
            .execute(&self.db.write)
            .await?;
        Ok(())
    }

    /// Whether a track is there.
    pub(crate) async fn knows(&self, track: &TrackId) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tracks WHERE id = ?)")
            .bind(&track.0)
            .fetch_one(&self.db.read)
            .await
    }

    /// What a track is called, as `Artist – Title`.
    pub(crate) async fn name(&self, track: &TrackId) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT artist || ' – ' || title FROM tracks WHERE id = ?")
            .bind(&track.0)
            .fetch_optional(&self.db.read)
            .await
    }

    /// Whether a track was taken down.
    pub(crate) async fn taken_down(&self, track: &TrackId) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM taken_down WHERE track_id = ?)")
            .bind(&track.0)
            .fetch_one(&self.db.read)
            .await
    }
}

/// Removes an album and artists that have nothing left.
pub(super) async fn forsake(
    tx: &mut Transaction<'_, Sqlite>,
    album_id: &str,
    artist_id: &str,
) -> Result<(), sqlx::Error> {
    let album_artist: Option<String> = sqlx::query_scalar(
        "DELETE FROM albums WHERE id = ?1 AND NOT EXISTS \
         (SELECT 1 FROM tracks WHERE album_id = ?1) RETURNING artist_id",
    )
    .bind(album_id)
    .fetch_optional(&mut **tx)
    .await?;
    for artist in [Some(artist_id), album_artist.as_deref()]
        .into_iter()
        .flatten()
    {
        sqlx::query(
            "DELETE FROM artists WHERE id = ?1 \
             AND NOT EXISTS (SELECT 1 FROM tracks WHERE artist_id = ?1) \
             AND NOT EXISTS (SELECT 1 FROM albums WHERE artist_id = ?1)",
        )
        .bind(artist)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
