CREATE TABLE playlists (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    -- Counts changes, from 1.
    version    INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE items (
    id          TEXT PRIMARY KEY,
    playlist_id TEXT NOT NULL REFERENCES playlists (id) ON DELETE CASCADE,
    track_id    TEXT NOT NULL,
    -- Orders the items of a playlist; gaps are harmless.
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX items_in_order ON items (playlist_id, position);
