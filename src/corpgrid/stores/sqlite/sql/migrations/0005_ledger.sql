-- oldest program: 4
--
-- The audit log becomes a ledger: each line gets a position in a Merkle tree, and is never changed again.
CREATE TABLE ledger (
  position INTEGER PRIMARY KEY,
  entry INTEGER NOT NULL UNIQUE,
  leaf BLOB NOT NULL
) STRICT;

-- Roots over 256, 65,536 ... leaves.
CREATE TABLE ledger_nodes (
  level INTEGER NOT NULL,
  place INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (level, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_checkpoints (
  size INTEGER PRIMARY KEY,
  frontier BLOB NOT NULL,
  note BLOB NOT NULL
) STRICT;

CREATE TRIGGER audit_log_stays BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER audit_log_keeps BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER ledger_stays BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END;
CREATE TRIGGER ledger_keeps BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END;
CREATE TRIGGER ledger_nodes_stay BEFORE UPDATE ON ledger_nodes
BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END;
CREATE TRIGGER ledger_nodes_keep BEFORE DELETE ON ledger_nodes
BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END;
CREATE TRIGGER ledger_checkpoints_stay BEFORE UPDATE ON ledger_checkpoints
BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END;
CREATE TRIGGER ledger_checkpoints_keep BEFORE DELETE ON ledger_checkpoints
BEGIN SELECT RAISE(ABORT, 'the ledger is never changed'); END;
