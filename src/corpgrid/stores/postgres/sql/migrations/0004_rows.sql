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
