-- What a tick writes.  Those statements that end with RETURNING 1 are joined to one (each a part of one WITH), so that a
-- tick costs one round trip: they see the rows as they were before it, and no two of them touch one row.  Wide rows come
-- as one array of a type of their own, which takes a fraction of the time of an array for each column.

-- name: hold_jobs
-- Jobs that the tick did not need, but writes.  No waiting: locks that are taken out of order must not wait.
SELECT id, number FROM jobs WHERE id = ANY ($1::text[]) ORDER BY number FOR UPDATE NOWAIT

-- name: hold_devices
-- The same for devices; with the version of each row, which tells whether somebody changed it.
SELECT id, number, xmin FROM devices WHERE id = ANY ($1::text[]) ORDER BY number FOR UPDATE NOWAIT

-- name: device_numbers
SELECT id, number FROM devices WHERE id = ANY ($1::text[])

-- name: add_jobs
INSERT INTO jobs (
  id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason, bundle
)
SELECT
  id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason, bundle
FROM unnest($1::job_row[]) WITH ORDINALITY AS new
ORDER BY ordinality
RETURNING id, number

-- name: add_specs
INSERT INTO job_specs (job, spec, envelope) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])
RETURNING 1

-- name: add_job_blobs
INSERT INTO job_blobs (job, digest, content) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])
RETURNING 1

-- name: add_devices
INSERT INTO devices (
  id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at
)
SELECT
  id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at
FROM unnest($1::device_row[]) WITH ORDINALITY AS new
ORDER BY ordinality
RETURNING id, number

-- name: put_devices
UPDATE devices SET
  public_key = new.public_key, owner = new.owner, site = new.site, state = new.state, reason = new.reason,
  trusted = new.trusted, name = new.name, hostname = new.hostname, operating_system = new.operating_system,
  architecture = new.architecture, python = new.python, engines = new.engines, sandbox = new.sandbox, cpus = new.cpus,
  memory_bytes = new.memory_bytes, disk_free_bytes = new.disk_free_bytes, labels = new.labels,
  thermal_headroom = new.thermal_headroom, agent_version = new.agent_version, on_ac_power = new.on_ac_power,
  battery_percent = new.battery_percent, blockers = new.blockers, capacity = new.capacity, leased = new.leased,
  session = new.session, boot = new.boot, registered_at = new.registered_at, last_seen = new.last_seen,
  completed = new.completed, correctness_alpha = new.correctness_alpha, correctness_beta = new.correctness_beta,
  correctness_at = new.correctness_at, availability_alpha = new.availability_alpha,
  availability_beta = new.availability_beta, availability_at = new.availability_at
FROM unnest($1::device_row[]) AS new
WHERE devices.id = new.id
RETURNING 1

-- name: drop_gpus
DELETE FROM device_gpus WHERE device = ANY ($1::bigint[])

-- name: add_gpus
INSERT INTO device_gpus (device, position, backend, name, uuid, vram_bytes, driver, compute)
SELECT * FROM unnest(
  $1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[]
)

-- name: put_jobs
UPDATE jobs SET
  name = new.name, submitter = new.submitter, tenant = new.tenant, priority = new.priority, tasks = new.tasks,
  created_at = new.created_at, state = new.state, finished_at = new.finished_at, rev = new.rev,
  waiting = new.waiting, ready = new.ready, leased = new.leased, provisional = new.provisional, final = new.final,
  failed = new.failed, cancelled = new.cancelled, unsettled = new.unsettled, executions = new.executions,
  audits = new.audits, mismatches = new.mismatches, audit_rate = new.audit_rate, error_bound = new.error_bound,
  reason = new.reason
FROM unnest($1::job_row[]) AS new
WHERE jobs.number = new.number
RETURNING 1

-- name: taken_attempts
-- Those that are new must not be there: a row for each of the spans from $1 to $2 of which something is.
SELECT 1
FROM unnest($1::bigint[], $2::bigint[]) AS new (first, last) CROSS JOIN LATERAL (
  SELECT last_attempt - tasks AS before FROM job_attempts WHERE last_attempt >= new.first ORDER BY last_attempt LIMIT 1
) AS next
WHERE next.before < new.last

-- name: add_attempts
INSERT INTO job_attempts (
  last_attempt, tasks, device, owner, site, purpose, epoch, state, batch, reason, positions, digests, seconds
)
SELECT * FROM unnest($1::attempt_run[])
RETURNING 1

-- name: put_attempts
-- The same for runs whose last attempt had a row before.
UPDATE job_attempts SET
  tasks = new.tasks, device = new.device, owner = new.owner, site = new.site, purpose = new.purpose,
  epoch = new.epoch, state = new.state, batch = new.batch, reason = new.reason, positions = new.positions,
  digests = new.digests, seconds = new.seconds
FROM unnest($1::attempt_run[]) AS new
WHERE job_attempts.last_attempt = new.last_attempt
RETURNING 1

-- name: drop_attempts
DELETE FROM job_attempts WHERE last_attempt = ANY ($1::bigint[]) RETURNING 1

-- name: add_tasks
INSERT INTO job_shards (
  last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
)
SELECT * FROM unnest($1::task_run[])
RETURNING 1

-- name: put_tasks
-- The same for runs whose last task had a row before.
UPDATE job_shards SET
  tasks = new.tasks, state = new.state, purpose = new.purpose, open = new.open, live = new.live,
  attempts = new.attempts, failures = new.failures, accepted = new.accepted, reason = new.reason,
  ready_at = new.ready_at, final_rev = new.final_rev, accepted_device = new.accepted_device
FROM unnest($1::task_run[]) AS new
WHERE job_shards.last_task = new.last_task
RETURNING 1

-- name: drop_tasks
DELETE FROM job_shards WHERE last_task = ANY ($1::bigint[]) RETURNING 1

-- name: finalise
-- Of the jobs $1, at their revs $2: provisional tasks become final, but for the runs $3, which this tick writes as they
-- shall be.  `+ 0` keeps the planner off the index of all provisional tasks.
UPDATE job_shards SET state = 4, final_rev = ended.rev
FROM unnest($1::bigint[], $2::bigint[]) AS ended (job, rev)
WHERE last_task BETWEEN ended.job << 24 AND (ended.job << 24) + 16777215 AND state + 0 = 3
  AND last_task <> ALL ($3::bigint[])
RETURNING 1

-- name: hold_grid
-- One at a time, until it has committed.
SELECT FROM grid WHERE one FOR UPDATE

-- name: extend_leases
-- Those that are given up (until is 0) stay so.
UPDATE leases SET until = until + $1 WHERE until > 0

-- name: put_leases
INSERT INTO leases (epoch, device, job, granted_at, until, remaining)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::float8[], $5::float8[], $6::bigint[])
ON CONFLICT (epoch) DO UPDATE SET
  device = excluded.device, job = excluded.job, granted_at = excluded.granted_at, until = excluded.until,
  remaining = excluded.remaining
RETURNING 1

-- name: drop_leases
DELETE FROM leases WHERE epoch = ANY ($1::bigint[]) RETURNING 1

-- name: put_standings
-- A row that is written again gets a new number: the highest is the newest.
INSERT INTO standings (device, bundle, fingerprint, returned, passed)
SELECT device, bundle, fingerprint, returned, passed
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])
  WITH ORDINALITY AS new (device, bundle, fingerprint, returned, passed, place)
ORDER BY place
ON CONFLICT (device, bundle, fingerprint) DO UPDATE SET
  number = excluded.number, returned = excluded.returned, passed = excluded.passed
RETURNING 1

-- name: add_batches
INSERT INTO result_batches (number, job, device, content)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
RETURNING 1

-- name: add_checkpoints
INSERT INTO checkpoints (task, attempt, step, blob, created_at)
SELECT task, attempt, step, blob, created_at
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bytea[], $5::float8[])
  WITH ORDINALITY AS new (task, attempt, step, blob, created_at, place)
ORDER BY place
RETURNING 1

-- name: add_audit
INSERT INTO audit_log (at, kind, subject, actor, detail)
SELECT at, kind, subject, actor, detail
FROM unnest($1::float8[], $2::text[], $3::text[], $4::text[], $5::text[])
  WITH ORDINALITY AS new (at, kind, subject, actor, detail, place)
ORDER BY place
RETURNING 1

-- name: put_ticks
INSERT INTO schedulers (instance, last_tick) SELECT * FROM unnest($1::text[], $2::float8[])
ON CONFLICT (instance) DO UPDATE SET last_tick = excluded.last_tick
RETURNING 1

-- name: cancel_tasks
-- Of a job, from its first to its last task number, at its rev: what has not ended (waiting, ready, leased, provisional)
-- is cancelled.
UPDATE job_shards SET state = 6, open = 0, live = 0, final_rev = $3 WHERE last_task BETWEEN $1 AND $2 AND state <= 3

-- name: stop_attempts
-- From the first to the last attempt number of a job: what is live is stopped.
UPDATE job_attempts SET state = 8 WHERE last_attempt BETWEEN $1 AND $2 AND state <= 2

-- name: drop_leases_of_job
DELETE FROM leases WHERE job = $1

-- name: add_metrics
-- Unless there is one of the last $2 seconds.  Devices count from $3 on.
INSERT INTO metrics_snapshot (
  at, devices_present, devices_trusted, jobs_running, tasks_waiting, tasks_ready, tasks_leased, tasks_provisional, leases
)
SELECT
  $1::float8,
  (SELECT count(*) FROM devices WHERE state = 'active' AND blockers = '[]' AND last_seen >= $3),
  (SELECT count(*) FROM devices WHERE state = 'active' AND blockers = '[]' AND last_seen >= $3 AND trusted),
  count(*), coalesce(sum(waiting), 0), coalesce(sum(ready), 0), coalesce(sum(leased), 0), coalesce(sum(provisional), 0),
  (SELECT count(*) FROM leases)
FROM jobs WHERE state = 'running'
HAVING NOT EXISTS (SELECT FROM metrics_snapshot WHERE at > $1::float8 - $2)
ON CONFLICT (at) DO NOTHING

-- name: drop_old_metrics
DELETE FROM metrics_snapshot WHERE at < $1

