-- The audit log as a Merkle log (trust/ledger.py).

-- name: ledger_frontier
SELECT frontier FROM ledger_checkpoints ORDER BY size DESC LIMIT 1

-- name: ledger_waiting
-- One writer numbers its lines in the order of their commits.
SELECT number, at, kind, subject, actor, detail FROM audit_log
WHERE number > (SELECT ifnull(max(entry), 0) FROM ledger) ORDER BY number LIMIT ?

-- name: add_ledger
INSERT INTO ledger (position, entry, leaf) VALUES (?, ?, ?)

-- name: add_ledger_nodes
INSERT INTO ledger_nodes (level, place, hash) VALUES (?, ?, ?)

-- name: add_ledger_checkpoint
INSERT INTO ledger_checkpoints (size, frontier, note) VALUES (?, ?, ?)

-- name: ledger_lines
SELECT ledger.position, ledger.leaf, line.at, line.kind, line.subject, line.actor, line.detail
FROM ledger LEFT JOIN audit_log AS line ON line.number = ledger.entry
WHERE ledger.position >= ? ORDER BY ledger.position LIMIT ?

-- name: ledger_checkpoints
SELECT size, note FROM ledger_checkpoints WHERE size > ? ORDER BY size LIMIT ?

-- name: ledger_newest
SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1

-- name: ledger_leaves
SELECT leaf FROM ledger WHERE position >= ?1 AND position < ?1 + ?2 ORDER BY position

-- name: ledger_nodes
SELECT hash FROM ledger_nodes WHERE level = ?3 AND place >= ?1 AND place < ?1 + ?2 ORDER BY place
