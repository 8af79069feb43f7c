-- A track's cover as its index names it, and which writing of the index this is: the index of a
-- revision is replaced where a file of the same sound brings other tags.
ALTER TABLE tracks ADD COLUMN cover_name TEXT;
ALTER TABLE tracks ADD COLUMN edition TEXT NOT NULL DEFAULT '';
-- What was entered before is entered again, with both, when the origin next starts.
UPDATE tracks SET registered_ms = 0;
