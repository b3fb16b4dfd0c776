-- The first schema.
--
-- Keys are integers that nest: a task is its job's number * 2^24 + its index, an attempt is its task * 2^12 + its number;
-- the virtual columns take them apart again.  In the two tables that every tick rewrites (job_shards, job_attempts) states
-- and purposes are numbers too; the table `words` says what they mean, and no number ever changes its meaning.
-- Times are seconds since the epoch.

CREATE TABLE grid (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  next_epoch INTEGER NOT NULL,
  next_batch INTEGER NOT NULL,
  last_tick REAL NOT NULL
) STRICT;
INSERT INTO grid VALUES (1, 1, 1, 0.0);

CREATE TABLE devices (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  public_key BLOB NOT NULL,
  owner TEXT NOT NULL,
  site TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  trusted INTEGER NOT NULL,
  name TEXT NOT NULL,
  hostname TEXT NOT NULL,
  operating_system TEXT NOT NULL,
  architecture TEXT NOT NULL,
  python TEXT NOT NULL,
  engines TEXT NOT NULL,          -- JSON array
  sandbox TEXT NOT NULL,
  cpus INTEGER NOT NULL,
  memory_bytes INTEGER NOT NULL,
  disk_free_bytes INTEGER NOT NULL,
  labels TEXT NOT NULL,           -- JSON array
  thermal_headroom REAL NOT NULL,
  agent_version TEXT NOT NULL,
  on_ac_power INTEGER NOT NULL,
  battery_percent REAL,           -- NULL without a battery
  blockers TEXT NOT NULL,         -- JSON array
  capacity INTEGER NOT NULL,
  leased INTEGER NOT NULL,
  session BLOB NOT NULL,
  boot TEXT NOT NULL,
  registered_at REAL NOT NULL,
  last_seen REAL NOT NULL,
  completed INTEGER NOT NULL,
  correctness_alpha REAL NOT NULL,
  correctness_beta REAL NOT NULL,
  correctness_at REAL NOT NULL,
  availability_alpha REAL NOT NULL,
  availability_beta REAL NOT NULL,
  availability_at REAL NOT NULL
) STRICT;
CREATE INDEX devices_power ON devices (on_ac_power, state);
CREATE INDEX devices_present ON devices (owner, last_seen, trusted) WHERE state = 'active' AND blockers = '[]';
CREATE INDEX devices_barred ON devices (number) WHERE state IN ('quarantined', 'revoked');

CREATE TABLE device_gpus (
  device INTEGER NOT NULL,
  position INTEGER NOT NULL,
  backend TEXT NOT NULL,
  name TEXT NOT NULL,
  uuid TEXT NOT NULL,
  vram_bytes INTEGER NOT NULL,
  driver TEXT NOT NULL,
  compute TEXT NOT NULL,
  PRIMARY KEY (device, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  submitter TEXT NOT NULL,
  tenant TEXT NOT NULL,
  priority INTEGER NOT NULL,
  tasks INTEGER NOT NULL,
  created_at REAL NOT NULL,
  state TEXT NOT NULL,
  finished_at REAL NOT NULL,
  rev INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  ready INTEGER NOT NULL,
  leased INTEGER NOT NULL,
  provisional INTEGER NOT NULL,
  final INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  unsettled INTEGER NOT NULL,
  executions INTEGER NOT NULL,
  audits INTEGER NOT NULL,
  mismatches INTEGER NOT NULL,
  audit_rate REAL NOT NULL,
  error_bound REAL NOT NULL,
  reason TEXT NOT NULL,
  bundle BLOB NOT NULL
) STRICT;
CREATE INDEX jobs_running ON jobs (priority DESC, created_at, number) WHERE state = 'running';
CREATE INDEX jobs_settled ON jobs (number) WHERE state = 'running' AND unsettled = 0;
CREATE INDEX jobs_newest ON jobs (created_at, number);

-- What never changes of a job, apart from the row that every tick rewrites.
CREATE TABLE job_specs (
  job INTEGER PRIMARY KEY,
  spec BLOB NOT NULL,
  envelope BLOB NOT NULL
) STRICT;

CREATE TABLE words (
  kind TEXT NOT NULL,
  number INTEGER NOT NULL,
  word TEXT NOT NULL,
  PRIMARY KEY (kind, number)
) STRICT, WITHOUT ROWID;
INSERT INTO words VALUES
  ('task', 0, 'waiting'), ('task', 1, 'ready'), ('task', 2, 'leased'), ('task', 3, 'provisional'), ('task', 4, 'final'),
  ('task', 5, 'failed'), ('task', 6, 'cancelled'),
  ('purpose', 0, 'primary'), ('purpose', 1, 'audit'), ('purpose', 2, 'arbiter'),
  ('attempt', 0, 'leased'), ('attempt', 1, 'running'), ('attempt', 2, 'yielded'), ('attempt', 3, 'returned'),
  ('attempt', 4, 'accepted'), ('attempt', 5, 'rejected'), ('attempt', 6, 'expired'), ('attempt', 7, 'crashed'),
  ('attempt', 8, 'stopped'), ('attempt', 9, 'refused');

CREATE TABLE job_shards (
  task INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  purpose INTEGER NOT NULL,
  open INTEGER NOT NULL,
  live INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  reason TEXT NOT NULL,
  ready_at REAL NOT NULL,
  final_rev INTEGER NOT NULL,
  accepted_device INTEGER,        -- of the accepted attempt; NULL without one
  job INTEGER GENERATED ALWAYS AS (task >> 24) VIRTUAL,
  idx INTEGER GENERATED ALWAYS AS (task & 16777215) VIRTUAL
) STRICT;
-- Ready, leased or provisional, with a copy to hand out: for the first time, and again.
CREATE INDEX job_shards_fresh ON job_shards (task) WHERE open > 0 AND attempts = 0 AND state BETWEEN 1 AND 3;
CREATE INDEX job_shards_tried ON job_shards (task) WHERE open > 0 AND attempts > 0 AND state BETWEEN 1 AND 3;
CREATE INDEX job_shards_due ON job_shards (ready_at, task) WHERE state = 0;
CREATE INDEX job_shards_provisional ON job_shards (accepted_device, task) WHERE state = 3;
CREATE INDEX job_shards_ended ON job_shards (job, final_rev, idx) WHERE final_rev > 0;

CREATE TABLE job_attempts (
  attempt INTEGER PRIMARY KEY,
  device INTEGER NOT NULL,
  owner TEXT NOT NULL,
  site TEXT NOT NULL,
  purpose INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  state INTEGER NOT NULL,
  batch INTEGER NOT NULL,
  position INTEGER NOT NULL,
  digest BLOB NOT NULL,
  reason TEXT NOT NULL,
  seconds REAL NOT NULL,
  task INTEGER GENERATED ALWAYS AS (attempt >> 12) VIRTUAL,
  number INTEGER GENERATED ALWAYS AS (attempt & 4095) VIRTUAL,
  job INTEGER GENERATED ALWAYS AS (attempt >> 36) VIRTUAL,
  idx INTEGER GENERATED ALWAYS AS (attempt >> 12 & 16777215) VIRTUAL
) STRICT;
-- Leased, running or yielded.
CREATE INDEX job_attempts_live ON job_attempts (device, epoch) WHERE state <= 2;

CREATE TABLE leases (
  epoch INTEGER PRIMARY KEY,
  device INTEGER NOT NULL,
  job INTEGER NOT NULL,
  granted_at REAL NOT NULL,
  until REAL NOT NULL,
  remaining INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_device ON leases (device);
CREATE INDEX leases_job ON leases (job);
CREATE INDEX leases_until ON leases (until, epoch);

CREATE TABLE result_batches (
  number INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  device INTEGER NOT NULL,
  content BLOB NOT NULL
) STRICT;

-- The row that was written last is the device's present shape.
CREATE TABLE standings (
  number INTEGER PRIMARY KEY,
  device INTEGER NOT NULL,
  bundle BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  returned INTEGER NOT NULL,
  passed INTEGER NOT NULL,
  UNIQUE (device, bundle, fingerprint)
) STRICT;

CREATE TABLE checkpoints (
  number INTEGER PRIMARY KEY,
  task INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,
  blob BLOB NOT NULL,
  created_at REAL NOT NULL
) STRICT;
CREATE INDEX checkpoints_task ON checkpoints (task, number);

CREATE TABLE audit_log (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  actor TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_log_subject ON audit_log (subject, number);

-- How the grid stood, once a minute, for a month.
CREATE TABLE metrics_snapshot (
  at REAL PRIMARY KEY,
  devices_present INTEGER NOT NULL,
  devices_trusted INTEGER NOT NULL,
  jobs_running INTEGER NOT NULL,
  tasks_waiting INTEGER NOT NULL,
  tasks_ready INTEGER NOT NULL,
  tasks_leased INTEGER NOT NULL,
  tasks_provisional INTEGER NOT NULL,
  leases INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
