-- One row a job. Times are milliseconds since 1970 by the clock of the machine that has the
-- database; texts that hold lists are JSON.
CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    -- What the job is about; one job under way for each.
    key          TEXT NOT NULL,
    sources      TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'dead', 'cancelled')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    -- Not to be taken before.
    ready_ms     INTEGER NOT NULL,
    worker       TEXT,
    lease        TEXT,
    -- Until when the lease holds, and for how long a heartbeat renews it.
    lease_ms     INTEGER,
    lasts_ms     INTEGER NOT NULL DEFAULT 0,
    cancel       INTEGER NOT NULL DEFAULT 0,
    progress     REAL NOT NULL DEFAULT 0,
    reason       TEXT,
    error        TEXT,
    failures     TEXT NOT NULL DEFAULT '[]',
    tracks       TEXT NOT NULL DEFAULT '[]',
    created_ms   INTEGER NOT NULL,
    started_ms   INTEGER,
    changed_ms   INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX jobs_under_way ON jobs (key) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_by_turn ON jobs (state, priority DESC, ready_ms);
CREATE INDEX jobs_by_change ON jobs (changed_ms);
