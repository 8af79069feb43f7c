-- Tracks that were taken down: they are not entered again, and nothing of them is served.
CREATE TABLE taken_down (
    track_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
