-- Artists, albums and tracks, as the tags of published tracks tell them.
CREATE TABLE artists (
    id     TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    sort   TEXT NOT NULL,
    -- The name in lower case, for search.
    folded TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE albums (
    id        TEXT PRIMARY KEY,
    artist_id TEXT NOT NULL REFERENCES artists (id),
    title     TEXT NOT NULL,
    sort      TEXT NOT NULL,
    -- Title and artist in lower case, for search.
    folded    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX albums_by_artist ON albums (artist_id);

CREATE TABLE tracks (
    id            TEXT PRIMARY KEY,
    revision      TEXT NOT NULL,
    album_id      TEXT NOT NULL REFERENCES albums (id),
    artist_id     TEXT NOT NULL REFERENCES artists (id),
    title         TEXT NOT NULL,
    artist        TEXT NOT NULL,
    track_number  INTEGER,
    disc_number   INTEGER,
    date          TEXT,
    duration_s    REAL NOT NULL,
    cover         INTEGER NOT NULL,
    -- Loudness and renditions as JSON, as they are answered.
    detail        TEXT NOT NULL,
    -- Title, artist and album in lower case, for search.
    folded        TEXT NOT NULL,
    -- When the revision was registered, in milliseconds since 1970.
    registered_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tracks_by_album ON tracks (album_id);
CREATE INDEX tracks_by_artist ON tracks (artist_id);

-- Every revision ever registered, current or not.
CREATE TABLE revisions (
    track_id TEXT NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (track_id, revision)
) STRICT, WITHOUT ROWID;
