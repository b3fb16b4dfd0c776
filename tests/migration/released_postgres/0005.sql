CREATE TABLE IF NOT EXISTS schema_version (
  number integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS oldest_program integer;
-- The first schema.
--
-- Keys are integers that nest: a task is its job's number * 2^24 + its index, an attempt is its task * 2^12 + its number.
-- In the two tables that every tick rewrites (job_shards, job_attempts) states and purposes are numbers too; the table
-- `words` says what they mean, and no number ever changes its meaning.  Times are seconds since the epoch.
--
-- Whoever writes a row of a job (tasks, attempts, leases) holds the lock of the row in `jobs`; a device's row is its own.
-- Indexes name no column that every tick changes where that can be had: such updates stay within their page.

CREATE TABLE grid (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '')
);
INSERT INTO grid DEFAULT VALUES;

-- Block n stands for the epochs and batch numbers from n * 65,536 + 1 on.
CREATE SEQUENCE number_blocks MINVALUE 0 START 0;

-- One row for each store that was ever opened and wrote: no two schedulers write the same row in every tick.
CREATE TABLE schedulers (
  instance text PRIMARY KEY,
  last_tick double precision NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE devices (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  public_key bytea NOT NULL,
  owner text COLLATE "C" NOT NULL,
  site text NOT NULL,
  state text NOT NULL,
  reason text NOT NULL,
  trusted boolean NOT NULL,
  name text NOT NULL,
  hostname text NOT NULL,
  operating_system text NOT NULL,
  architecture text NOT NULL,
  python text NOT NULL,
  engines text NOT NULL,          -- JSON array
  sandbox text NOT NULL,
  cpus bigint NOT NULL,
  memory_bytes bigint NOT NULL,
  disk_free_bytes bigint NOT NULL,
  labels text NOT NULL,           -- JSON array
  thermal_headroom double precision NOT NULL,
  agent_version text NOT NULL,
  on_ac_power boolean NOT NULL,
  battery_percent double precision, -- NULL without a battery
  blockers text NOT NULL,         -- JSON array
  capacity bigint NOT NULL,
  leased bigint NOT NULL,
  session bytea NOT NULL,
  boot text NOT NULL,
  registered_at double precision NOT NULL,
  last_seen double precision NOT NULL,
  completed bigint NOT NULL,
  correctness_alpha double precision NOT NULL,
  correctness_beta double precision NOT NULL,
  correctness_at double precision NOT NULL,
  availability_alpha double precision NOT NULL,
  availability_beta double precision NOT NULL,
  availability_at double precision NOT NULL
) WITH (fillfactor = 60);
CREATE INDEX devices_power ON devices (on_ac_power, state);
CREATE INDEX devices_present ON devices (owner, trusted) WHERE state = 'active' AND blockers = '[]';
CREATE INDEX devices_barred ON devices (number) WHERE state IN ('quarantined', 'revoked');

CREATE TABLE device_gpus (
  device bigint NOT NULL,
  position integer NOT NULL,
  backend text NOT NULL,
  name text NOT NULL,
  uuid text NOT NULL,
  vram_bytes bigint NOT NULL,
  driver text NOT NULL,
  compute text NOT NULL,
  PRIMARY KEY (device, position)
);

CREATE TABLE jobs (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (number < 134217728),
  id text COLLATE "C" NOT NULL UNIQUE,
  name text NOT NULL,
  submitter text NOT NULL,
  tenant text NOT NULL,
  priority integer NOT NULL,
  tasks bigint NOT NULL,
  created_at double precision NOT NULL,
  state text NOT NULL,
  finished_at double precision NOT NULL,
  rev bigint NOT NULL,
  waiting bigint NOT NULL,
  ready bigint NOT NULL,
  leased bigint NOT NULL,
  provisional bigint NOT NULL,
  final bigint NOT NULL,
  failed bigint NOT NULL,
  cancelled bigint NOT NULL,
  unsettled bigint NOT NULL,
  executions bigint NOT NULL,
  audits bigint NOT NULL,
  mismatches bigint NOT NULL,
  audit_rate double precision NOT NULL,
  error_bound double precision NOT NULL,
  reason text NOT NULL,
  bundle bytea NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX jobs_running ON jobs (priority DESC, created_at, number) WHERE state = 'running';
CREATE INDEX jobs_newest ON jobs (created_at, number);

-- What never changes of a job, apart from the row that every tick rewrites.
CREATE TABLE job_specs (
  job bigint PRIMARY KEY,
  spec bytea NOT NULL,
  envelope bytea NOT NULL
);

-- Small blobs that came with a job (its list of pages, its only page): in rows of the job, so that the commit that takes
-- the job takes them too.
CREATE TABLE job_blobs (
  job bigint NOT NULL,
  digest bytea NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (job, digest)
);
CREATE INDEX job_blobs_digest ON job_blobs (digest, job);

CREATE TABLE words (
  kind text NOT NULL,
  number smallint NOT NULL,
  word text NOT NULL,
  PRIMARY KEY (kind, number)
);
INSERT INTO words VALUES
  ('task', 0, 'waiting'), ('task', 1, 'ready'), ('task', 2, 'leased'), ('task', 3, 'provisional'), ('task', 4, 'final'),
  ('task', 5, 'failed'), ('task', 6, 'cancelled'),
  ('purpose', 0, 'primary'), ('purpose', 1, 'audit'), ('purpose', 2, 'arbiter'),
  ('attempt', 0, 'leased'), ('attempt', 1, 'running'), ('attempt', 2, 'yielded'), ('attempt', 3, 'returned'),
  ('attempt', 4, 'accepted'), ('attempt', 5, 'rejected'), ('attempt', 6, 'expired'), ('attempt', 7, 'crashed'),
  ('attempt', 8, 'stopped'), ('attempt', 9, 'refused');

-- Dead entries of the two ready indexes lie where the next ready task is looked for, so the table is vacuumed often.
CREATE TABLE job_shards (
  task bigint PRIMARY KEY,
  ready_at double precision NOT NULL,
  final_rev bigint NOT NULL,
  open integer NOT NULL,
  live integer NOT NULL,
  attempts integer NOT NULL,
  failures integer NOT NULL,
  accepted integer NOT NULL,
  state smallint NOT NULL,
  purpose smallint NOT NULL,
  reason text NOT NULL,
  accepted_device bigint          -- of the accepted attempt; NULL without one
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
-- Ready, leased or provisional, with a copy to hand out: for the first time, and again.
CREATE INDEX job_shards_fresh ON job_shards (task) WHERE open > 0 AND attempts = 0 AND state BETWEEN 1 AND 3;
CREATE INDEX job_shards_tried ON job_shards (task) WHERE open > 0 AND attempts > 0 AND state BETWEEN 1 AND 3;
CREATE INDEX job_shards_due ON job_shards (ready_at, task) WHERE state = 0;
CREATE INDEX job_shards_provisional ON job_shards (accepted_device, task) WHERE state = 3;
CREATE INDEX job_shards_ended ON job_shards ((task >> 24), final_rev, task) WHERE final_rev > 0;

CREATE TABLE job_attempts (
  attempt bigint PRIMARY KEY,
  device bigint NOT NULL,
  epoch bigint NOT NULL,
  batch bigint NOT NULL,
  seconds double precision NOT NULL,
  position integer NOT NULL,
  state smallint NOT NULL,
  purpose smallint NOT NULL,
  owner text NOT NULL,
  site text NOT NULL,
  digest bytea NOT NULL,
  reason text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
-- Leased, running or yielded.
CREATE INDEX job_attempts_live ON job_attempts (device, epoch) WHERE state <= 2;

CREATE TABLE leases (
  epoch bigint PRIMARY KEY,
  device bigint NOT NULL,
  job bigint NOT NULL,
  granted_at double precision NOT NULL,
  until double precision NOT NULL,
  remaining bigint NOT NULL
);
CREATE INDEX leases_device ON leases (device);
CREATE INDEX leases_job ON leases (job);
CREATE INDEX leases_until ON leases (until, epoch);

CREATE TABLE result_batches (
  number bigint PRIMARY KEY,
  job bigint NOT NULL,
  device bigint NOT NULL,
  content bytea NOT NULL
);

-- The row that was written last is the device's present shape.
CREATE TABLE standings (
  number bigint GENERATED BY DEFAULT AS IDENTITY,
  device bigint NOT NULL,
  bundle bytea NOT NULL,
  fingerprint bytea NOT NULL,
  returned bigint NOT NULL,
  passed bigint NOT NULL,
  PRIMARY KEY (device, bundle, fingerprint)
) WITH (fillfactor = 60);

CREATE TABLE checkpoints (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task bigint NOT NULL,
  attempt integer NOT NULL,
  step bigint NOT NULL,
  blob bytea NOT NULL,
  created_at double precision NOT NULL
);
CREATE INDEX checkpoints_task ON checkpoints (task, number);

CREATE TABLE audit_log (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at double precision NOT NULL,
  kind text NOT NULL,
  subject text COLLATE "C" NOT NULL,
  actor text NOT NULL,
  detail text NOT NULL
);
CREATE INDEX audit_log_subject ON audit_log (subject, number);

-- How the grid stood, once a minute, for a month.
CREATE TABLE metrics_snapshot (
  at double precision PRIMARY KEY,
  devices_present bigint NOT NULL,
  devices_trusted bigint NOT NULL,
  jobs_running bigint NOT NULL,
  tasks_waiting bigint NOT NULL,
  tasks_ready bigint NOT NULL,
  tasks_leased bigint NOT NULL,
  tasks_provisional bigint NOT NULL,
  leases bigint NOT NULL
);

-- oldest program: 1
--
-- Of many schedulers one leads: it does what only one should do (docs/adr/0016).

-- Who leads, in one row.  Whoever takes the lead writes a higher epoch; whoever writes as the leader locks the row FOR SHARE
-- and finds its own epoch there, so that these two exclude each other.
CREATE TABLE lead (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  epoch bigint NOT NULL DEFAULT 0,
  holder text NOT NULL DEFAULT '',        -- the store's instance, as in `schedulers`
  taken_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO lead DEFAULT VALUES;

-- What all schedulers of the grid share and nobody else may read.
CREATE TABLE secrets (
  name text PRIMARY KEY,
  value bytea NOT NULL
);

-- A row stands for a run of tasks, or of attempts, that follow each other and are alike; its key is that of the last.  The
-- keys have new names, so that a program that takes a row for one task finds no row at all.
--
-- Attempts are ordered by job, number, index, so that the first attempts at tasks that follow each other do so too: a key
-- is job number * 2^36 + attempt number * 2^24 + index.
--
-- What differs within a run of attempts is in three columns, one attempt after the other: positions (of each 4 bytes, the
-- highest first), digests (of each as many bytes), seconds (of each 8 bytes, as float8send gives them).  One that is empty
-- says that all are 0, or none.

ALTER TABLE job_shards RENAME COLUMN task TO last_task;
ALTER TABLE job_shards ADD COLUMN tasks integer NOT NULL DEFAULT 1 CHECK (tasks > 0);
ALTER TABLE job_shards ALTER COLUMN tasks DROP DEFAULT;

ALTER TABLE job_attempts RENAME COLUMN attempt TO last_attempt;
ALTER TABLE job_attempts RENAME COLUMN position TO positions;
ALTER TABLE job_attempts RENAME COLUMN digest TO digests;
ALTER TABLE job_attempts
  ALTER COLUMN last_attempt TYPE bigint
    USING (last_attempt >> 36 << 36) + ((last_attempt & 4095) << 24) + (last_attempt >> 12 & 16777215),
  ALTER COLUMN positions TYPE bytea USING int4send(positions),
  ALTER COLUMN seconds TYPE bytea USING float8send(seconds),
  ADD COLUMN tasks integer NOT NULL DEFAULT 1 CHECK (tasks > 0);
ALTER TABLE job_attempts ALTER COLUMN tasks DROP DEFAULT;
-- Digests are random: to try to compress them is lost work.
ALTER TABLE job_attempts ALTER COLUMN digests SET STORAGE EXTERNAL;

-- oldest program: 3
--
-- What ticks write comes in rows of these types.  They are never altered: a program that knows a type sends just that; one
-- that needs another makes another.
CREATE TYPE device_row AS (
  id text, public_key bytea, owner text, site text, state text, reason text, trusted boolean, name text,
  hostname text, operating_system text, architecture text, python text, engines text, sandbox text, cpus bigint,
  memory_bytes bigint, disk_free_bytes bigint, labels text, thermal_headroom double precision, agent_version text,
  on_ac_power boolean, battery_percent double precision, blockers text, capacity bigint, leased bigint, session bytea,
  boot text, registered_at double precision, last_seen double precision, completed bigint,
  correctness_alpha double precision, correctness_beta double precision, correctness_at double precision,
  availability_alpha double precision, availability_beta double precision, availability_at double precision
);
CREATE TYPE job_row AS (
  number bigint, id text, name text, submitter text, tenant text, priority integer, tasks bigint,
  created_at double precision, state text, finished_at double precision, rev bigint, waiting bigint, ready bigint,
  leased bigint, provisional bigint, final bigint, failed bigint, cancelled bigint, unsettled bigint,
  executions bigint, audits bigint, mismatches bigint, audit_rate double precision, error_bound double precision,
  reason text, bundle bytea
);
CREATE TYPE task_run AS (
  last_task bigint, tasks integer, state smallint, purpose smallint, open integer, live integer, attempts integer,
  failures integer, accepted integer, reason text, ready_at double precision, final_rev bigint, accepted_device bigint
);
CREATE TYPE attempt_run AS (
  last_attempt bigint, tasks integer, device bigint, owner text, site text, purpose smallint, epoch bigint,
  state smallint, batch bigint, reason text, positions bytea, digests bytea, seconds bytea
);

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

INSERT INTO schema_version (number, name, oldest_program) VALUES (1, 'first', 1);
INSERT INTO schema_version (number, name, oldest_program) VALUES (2, 'lead', 1);
INSERT INTO schema_version (number, name, oldest_program) VALUES (3, 'runs', 3);
INSERT INTO schema_version (number, name, oldest_program) VALUES (4, 'rows', 3);
INSERT INTO schema_version (number, name, oldest_program) VALUES (5, 'ledger', 3);
