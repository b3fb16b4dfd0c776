-- The audit log as a Merkle log (trust/ledger.py).

-- name: lock_ledger
-- One sealer at a time, until the end of its transaction.
SELECT pg_advisory_xact_lock(x'6C656467'::integer, 'ledger'::regclass::oid::integer)

-- name: ledger_frontier
SELECT frontier FROM ledger_checkpoints ORDER BY size DESC LIMIT 1

-- name: take_waiting
WITH taken AS (
  DELETE FROM ledger_waiting
  WHERE entry = ANY (ARRAY (SELECT entry FROM ledger_waiting ORDER BY entry LIMIT $1))
  RETURNING entry
)
SELECT number, at, kind, subject, actor, detail FROM taken JOIN audit_log ON number = entry ORDER BY number

-- name: add_ledger
INSERT INTO ledger (position, entry, leaf) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])

-- name: add_ledger_nodes
INSERT INTO ledger_nodes (level, place, hash) SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bytea[])

-- name: add_ledger_checkpoint
INSERT INTO ledger_checkpoints (size, frontier, note) VALUES ($1, $2, $3)

-- name: ledger_lines
SELECT ledger.position, ledger.leaf, line.at, line.kind, line.subject, line.actor, line.detail
FROM ledger LEFT JOIN audit_log AS line ON line.number = ledger.entry
WHERE ledger.position >= $1 ORDER BY ledger.position LIMIT $2

-- name: ledger_checkpoints
SELECT size, note FROM ledger_checkpoints WHERE size > $1 ORDER BY size LIMIT $2

-- name: ledger_newest
SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1

-- name: ledger_leaves
SELECT leaf FROM ledger WHERE position >= $1 AND position < $1 + $2 ORDER BY position

-- name: ledger_nodes
SELECT hash FROM ledger_nodes WHERE level = $3 AND place >= $1 AND place < $1 + $2 ORDER BY place
