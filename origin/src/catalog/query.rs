//! Reading the catalogue.

use serde_json::from_str;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqlitePool};

use super::wire::{AlbumRef, AlbumSummary, ArtistSummary, TrackSummary};
use crate::error::{ApiError, ApiResult};

/// A page of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) limit: u32,
    pub(super) offset: u32,
}

#[derive(FromRow)]
struct TrackRow {
    id: String,
    revision: String,
    title: String,
    artist: String,
    artist_id: String,
    album_id: String,
    album_title: String,
    track_number: Option<i64>,
    disc_number: Option<i64>,
    duration_s: f64,
    cover_name: Option<String>,
    detail: String,
}

#[derive(FromRow)]
struct AlbumRow {
    id: String,
    title: String,
    artist: String,
    artist_id: String,
    date: Option<String>,
    cover: Option<String>,
    track_count: i64,
    duration_s: f64,
}

const TRACKS: &str = "SELECT t.id, t.revision, t.title, t.artist, t.artist_id, t.album_id, \
     a.title AS album_title, t.track_number, t.disc_number, t.duration_s, t.cover_name, t.detail \
     FROM tracks t JOIN albums a ON a.id = t.album_id ";

/// Discs and tracks without a number come last, by title.
const TRACK_ORDER: &str = " ORDER BY COALESCE(t.disc_number, 1), \
     t.track_number IS NULL, t.track_number, t.title, t.id ";

const ALBUMS: &str = "SELECT a.id, a.title, ar.name AS artist, ar.id AS artist_id, \
     MIN(t.date) AS date, COUNT(*) AS track_count, SUM(t.duration_s) AS duration_s, \
     (SELECT c.id || '/' || c.revision || '/' || c.cover_name FROM tracks c \
      WHERE c.album_id = a.id AND c.cover_name IS NOT NULL \
      ORDER BY COALESCE(c.disc_number, 1), c.track_number, c.title, c.id LIMIT 1) AS cover \
     FROM albums a JOIN artists ar ON ar.id = a.artist_id JOIN tracks t ON t.album_id = a.id ";

const ALBUM_ORDER: &str = " GROUP BY a.id ORDER BY ar.sort, date, a.sort, a.id ";

impl TryFrom<TrackRow> for TrackSummary {
    type Error = ApiError;

    fn try_from(row: TrackRow) -> ApiResult<Self> {
        let detail = from_str(&row.detail).map_err(ApiError::internal)?;
        Ok(Self {
            cover: row
                .cover_name
                .map(|name| format!("/api/v1/covers/{}/{}/{name}", row.id, row.revision)),
            hls: format!("/v1/tracks/{}/index.m3u8", row.id),
            dash: format!("/v1/tracks/{}/manifest.mpd", row.id),
            id: row.id,
            revision: row.revision,
            title: row.title,
            artist: row.artist,
            artist_id: row.artist_id,
            album: AlbumRef {
                id: row.album_id,
                title: row.album_title,
            },
            track_number: row.track_number,
            disc_number: row.disc_number,
            duration_s: row.duration_s,
            detail,
        })
    }
}

impl From<AlbumRow> for AlbumSummary {
    fn from(row: AlbumRow) -> Self {
        Self {
            id: row.id,
            title: row.title,
            artist: row.artist,
            artist_id: row.artist_id,
            date: row.date,
            cover: row.cover.map(|ids| format!("/api/v1/covers/{ids}")),
            track_count: row.track_count,
            duration_s: row.duration_s,
        }
    }
}

type Sql = QueryBuilder<Sqlite>;

async fn tracks(pool: &SqlitePool, mut sql: Sql) -> ApiResult<Vec<TrackSummary>> {
    let rows: Vec<TrackRow> = sql.build_query_as().fetch_all(pool).await?;
    rows.into_iter().map(TrackSummary::try_from).collect()
}

async fn albums(pool: &SqlitePool, mut sql: Sql) -> ApiResult<Vec<AlbumSummary>> {
    let rows: Vec<AlbumRow> = sql.build_query_as().fetch_all(pool).await?;
    Ok(rows.into_iter().map(AlbumSummary::from).collect())
}

fn paged(sql: &mut Sql, page: Page) {
    sql.push(" LIMIT ")
        .push_bind(page.limit)
        .push(" OFFSET ")
        .push_bind(page.offset);
}

/// Tracks of those ids, in no order, at most as many as SQLite binds at once a query.
pub(super) async fn tracks_by_id(
    pool: &SqlitePool,
    ids: &[String],
) -> ApiResult<Vec<TrackSummary>> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(500) {
        let mut sql = Sql::new(TRACKS);
        sql.push("WHERE t.id IN (");
        let mut list = sql.separated(", ");
        for id in some {
            list.push_bind(id.clone());
        }
        sql.push(")");
        found.extend(tracks(pool, sql).await?);
    }
    Ok(found)
}

pub(super) async fn tracks_of_album(
    pool: &SqlitePool,
    album: &str,
) -> ApiResult<Vec<TrackSummary>> {
    let mut sql = Sql::new(TRACKS);
    sql.push("WHERE t.album_id = ")
        .push_bind(album.to_owned())
        .push(TRACK_ORDER);
    tracks(pool, sql).await
}

pub(super) async fn all_albums(
    pool: &SqlitePool,
    page: Page,
) -> ApiResult<(i64, Vec<AlbumSummary>)> {
    let total = sqlx::query_scalar("SELECT COUNT(DISTINCT album_id) FROM tracks");
    let total = total.fetch_one(pool).await?;
    let mut sql = Sql::new(ALBUMS);
    sql.push(ALBUM_ORDER);
    paged(&mut sql, page);
    Ok((total, albums(pool, sql).await?))
}

pub(super) async fn album(pool: &SqlitePool, id: &str) -> ApiResult<Option<AlbumSummary>> {
    let mut sql = Sql::new(ALBUMS);
    sql.push("WHERE a.id = ")
        .push_bind(id.to_owned())
        .push(ALBUM_ORDER);
    Ok(albums(pool, sql).await?.pop())
}

/// Albums of an artist, and those with a track of theirs.
pub(super) async fn albums_of_artist(
    pool: &SqlitePool,
    artist: &str,
) -> ApiResult<Vec<AlbumSummary>> {
    let mut sql = Sql::new(ALBUMS);
    sql.push("WHERE a.artist_id = ")
        .push_bind(artist.to_owned());
    sql.push(" OR a.id IN (SELECT album_id FROM tracks WHERE artist_id = ");
    sql.push_bind(artist.to_owned()).push(")").push(ALBUM_ORDER);
    albums(pool, sql).await
}

pub(super) async fn artist_name(pool: &SqlitePool, id: &str) -> ApiResult<Option<String>> {
    let name = sqlx::query_scalar("SELECT name FROM artists WHERE id = ?");
    Ok(name.bind(id).fetch_optional(pool).await?)
}

/// Artists with an album or a track, by name; all, or those whose name matches every term.
pub(super) async fn artists(
    pool: &SqlitePool,
    terms: &[String],
    page: Page,
) -> ApiResult<(i64, Vec<ArtistSummary>)> {
    let filtered = |select: &'static str| {
        let mut sql = Sql::new(select);
        sql.push(
            " FROM artists ar WHERE (EXISTS (SELECT 1 FROM tracks t WHERE t.artist_id = ar.id) \
             OR EXISTS (SELECT 1 FROM albums a JOIN tracks t ON t.album_id = a.id \
             WHERE a.artist_id = ar.id))",
        );
        contains(&mut sql, " AND ar.folded", terms);
        sql
    };
    let total = filtered("SELECT COUNT(*)")
        .build_query_scalar()
        .fetch_one(pool)
        .await?;
    let mut sql = filtered(
        "SELECT ar.id, ar.name, (SELECT COUNT(DISTINCT a.id) FROM albums a \
         JOIN tracks t ON t.album_id = a.id WHERE a.artist_id = ar.id OR t.artist_id = ar.id)",
    );
    sql.push(" ORDER BY ar.sort, ar.id");
    paged(&mut sql, page);
    let rows: Vec<(String, String, i64)> = sql.build_query_as().fetch_all(pool).await?;
    let artists = rows
        .into_iter()
        .map(|(id, name, album_count)| ArtistSummary {
            id,
            name,
            album_count,
        });
    Ok((total, artists.collect()))
}

/// Tracks whose title, artist and album together contain every term.
pub(super) async fn find_tracks(
    pool: &SqlitePool,
    terms: &[String],
    page: Page,
) -> ApiResult<Vec<TrackSummary>> {
    let mut sql = Sql::new(TRACKS);
    sql.push("WHERE 1");
    contains(&mut sql, " AND t.folded", terms);
    sql.push(" ORDER BY t.title, t.id");
    paged(&mut sql, page);
    tracks(pool, sql).await
}

/// Albums whose title and artist together contain every term.
pub(super) async fn find_albums(
    pool: &SqlitePool,
    terms: &[String],
    page: Page,
) -> ApiResult<Vec<AlbumSummary>> {
    let mut sql = Sql::new(ALBUMS);
    sql.push("WHERE 1");
    contains(&mut sql, " AND a.folded", terms);
    sql.push(ALBUM_ORDER);
    paged(&mut sql, page);
    albums(pool, sql).await
}

/// Adds `{column} LIKE %term%` for each term, wildcards in it taken literally.
fn contains(sql: &mut Sql, column: &'static str, terms: &[String]) {
    for term in terms {
        let literal = term
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        sql.push(column)
            .push(" LIKE ")
            .push_bind(format!("%{literal}%"))
            .push(" ESCAPE '\\'");
    }
}
