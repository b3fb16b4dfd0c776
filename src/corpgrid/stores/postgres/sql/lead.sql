-- Who of many schedulers leads, and the secrets that they share.

-- name: take_lead
-- The lock is that of this very table, so that grids in other schemas of the database have their own.  It goes when the
-- session does.
SELECT pg_try_advisory_lock(x'6C656164'::integer, 'lead'::regclass::oid::integer)

-- name: begin_term
-- Waits for whoever still writes under the old epoch.
UPDATE lead SET epoch = epoch + 1, holder = $1, taken_at = now() WHERE one RETURNING epoch

-- name: hold_lead
-- If it is the holder's $2 under the epoch $1: nobody else takes the lead before this transaction ends.
SELECT 1 FROM lead WHERE one AND epoch = $1 AND holder = $2 FOR SHARE

-- name: confirm_lead
SELECT 1 FROM lead WHERE one AND epoch = $1 AND holder = $2

-- name: oldest_program
SELECT max(coalesce(oldest_program, number)) FROM schema_version

-- name: drop_old_schedulers
-- Stores that were opened once and have not written since $1.
DELETE FROM schedulers WHERE last_tick < $1

-- name: add_secret
INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING

-- name: secret
SELECT value FROM secrets WHERE name = $1
