-- oldest program: 3
--
-- The audit log becomes a ledger: each line gets a position in a Merkle tree, and is never changed again.
CREATE TABLE ledger (
  position bigint PRIMARY KEY,
  entry bigint NOT NULL UNIQUE,
  leaf bytea NOT NULL
);

-- Roots over 256, 65,536 ... leaves.
CREATE TABLE ledger_nodes (
  level integer NOT NULL,
  place bigint NOT NULL,
  hash bytea NOT NULL,
  PRIMARY KEY (level, place)
);

CREATE TABLE ledger_checkpoints (
  size bigint PRIMARY KEY,
  frontier bytea NOT NULL,
  note bytea NOT NULL
);

-- Lines that have no position yet.  Ticks of several schedulers commit in another order than they number their lines: a
-- line is waiting from its commit on, whoever wrote it.
CREATE TABLE ledger_waiting (entry bigint PRIMARY KEY);
INSERT INTO ledger_waiting SELECT number FROM audit_log;

CREATE FUNCTION ledger_wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO ledger_waiting SELECT number FROM added;
  RETURN NULL;
END $$;
CREATE TRIGGER audit_log_waits AFTER INSERT ON audit_log
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger_wait();

CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
CREATE TRIGGER ledger_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
CREATE TRIGGER ledger_nodes_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_nodes
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
CREATE TRIGGER ledger_checkpoints_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_checkpoints
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();

-- The role of the schedulers may own the tables; without these it cannot change the ledger even without the triggers.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log, ledger, ledger_nodes, ledger_checkpoints FROM CURRENT_USER;
