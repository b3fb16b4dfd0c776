-- What a tick writes.  `VALUES (?, ...)` is repeated for as many rows as there are, so that one statement writes hundreds.
-- Of what comes by ones and twos (jobs, leases that end) a plain statement for each row is the fastest.

-- name: put_grid
UPDATE grid SET next_epoch = ?, next_batch = ?, last_tick = ?

-- name: add_job
INSERT INTO jobs (
  id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason, bundle
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_specs
INSERT INTO job_specs (job, spec, envelope)
VALUES (?, ?, ?)

-- name: add_job_blobs
INSERT INTO job_blobs (job, digest, content)
VALUES (?, ?, ?)

-- name: put_job
UPDATE jobs SET
  name = ?2, submitter = ?3, tenant = ?4, priority = ?5, tasks = ?6, created_at = ?7, state = ?8, finished_at = ?9,
  rev = ?10, waiting = ?11, ready = ?12, leased = ?13, provisional = ?14, final = ?15, failed = ?16, cancelled = ?17,
  unsettled = ?18, executions = ?19, audits = ?20, mismatches = ?21, audit_rate = ?22, error_bound = ?23, reason = ?24
WHERE number = ?1

-- name: put_tasks
-- Runs, of which some have a row.
INSERT INTO job_shards (
  last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (last_task) DO UPDATE SET
  tasks = excluded.tasks, state = excluded.state, purpose = excluded.purpose, open = excluded.open, live = excluded.live,
  attempts = excluded.attempts, failures = excluded.failures, accepted = excluded.accepted, reason = excluded.reason,
  ready_at = excluded.ready_at, final_rev = excluded.final_rev, accepted_device = excluded.accepted_device

-- name: drop_tasks
DELETE FROM job_shards WHERE last_task IN (SELECT value FROM json_each(?))

-- name: taken_attempts
-- Whether there is any of the attempts of the spans that `[[first, last], ...]` gives.
SELECT 1 FROM json_each(?) AS new
WHERE (
  SELECT last_attempt - tasks FROM job_attempts
  WHERE last_attempt >= json_extract(new.value, '$[0]') ORDER BY last_attempt LIMIT 1
) < json_extract(new.value, '$[1]')
LIMIT 1

-- name: put_attempts
INSERT OR REPLACE INTO job_attempts (
  last_attempt, tasks, device, owner, site, purpose, epoch, state, batch, reason, positions, digests, seconds
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: drop_attempts
DELETE FROM job_attempts WHERE last_attempt IN (SELECT value FROM json_each(?))

-- name: extend_leases
-- Those that are given up (until is 0) stay so.
UPDATE leases SET until = until + ? WHERE until > 0

-- name: put_leases
INSERT OR REPLACE INTO leases (epoch, device, job, granted_at, until, remaining)
VALUES (?, ?, ?, ?, ?, ?)

-- name: drop_lease
DELETE FROM leases WHERE epoch = ?

-- name: put_devices
INSERT INTO devices (
  id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at
)
VALUES (
  ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
)
ON CONFLICT (id) DO UPDATE SET
  public_key = excluded.public_key, owner = excluded.owner, site = excluded.site, state = excluded.state,
  reason = excluded.reason, trusted = excluded.trusted, name = excluded.name, hostname = excluded.hostname,
  operating_system = excluded.operating_system, architecture = excluded.architecture, python = excluded.python,
  engines = excluded.engines, sandbox = excluded.sandbox, cpus = excluded.cpus, memory_bytes = excluded.memory_bytes,
  disk_free_bytes = excluded.disk_free_bytes, labels = excluded.labels, thermal_headroom = excluded.thermal_headroom,
  agent_version = excluded.agent_version, on_ac_power = excluded.on_ac_power,
  battery_percent = excluded.battery_percent, blockers = excluded.blockers, capacity = excluded.capacity,
  leased = excluded.leased, session = excluded.session, boot = excluded.boot, registered_at = excluded.registered_at,
  last_seen = excluded.last_seen, completed = excluded.completed, correctness_alpha = excluded.correctness_alpha,
  correctness_beta = excluded.correctness_beta, correctness_at = excluded.correctness_at,
  availability_alpha = excluded.availability_alpha, availability_beta = excluded.availability_beta,
  availability_at = excluded.availability_at

-- name: drop_gpus
DELETE FROM device_gpus WHERE device IN (SELECT value FROM json_each(?))

-- name: add_gpus
INSERT INTO device_gpus (device, position, backend, name, uuid, vram_bytes, driver, compute)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_standings
-- A row that is written again moves to the end: the last one is the newest.
INSERT OR REPLACE INTO standings (device, bundle, fingerprint, returned, passed)
VALUES (?, ?, ?, ?, ?)

-- name: add_batches
INSERT INTO result_batches (number, job, device, content)
VALUES (?, ?, ?, ?)

-- name: finalise
-- Of one job, from its first to its last task number, at its rev: provisional tasks become final.
UPDATE job_shards SET state = 4, final_rev = ?3 WHERE last_task BETWEEN ?1 AND ?2 AND state = 3

-- name: cancel_tasks
-- The same: what has not ended (waiting, ready, leased, provisional) is cancelled.
UPDATE job_shards SET state = 6, open = 0, live = 0, final_rev = ?3 WHERE last_task BETWEEN ?1 AND ?2 AND state <= 3

-- name: stop_attempts
-- From the first to the last attempt number of a job: what is live is stopped.
UPDATE job_attempts SET state = 8 WHERE last_attempt BETWEEN ?1 AND ?2 AND state <= 2

-- name: add_checkpoints
INSERT INTO checkpoints (task, attempt, step, blob, created_at)
VALUES (?, ?, ?, ?, ?)

-- name: add_audit
INSERT INTO audit_log (at, kind, subject, actor, detail)
VALUES (?, ?, ?, ?, ?)

-- name: add_metrics
-- Unless there is one of the last ?2 seconds.  Devices count from ?3 on.
INSERT INTO metrics_snapshot (
  at, devices_present, devices_trusted, jobs_running, tasks_waiting, tasks_ready, tasks_leased, tasks_provisional, leases
)
SELECT
  ?1,
  (SELECT count(*) FROM devices WHERE state = 'active' AND blockers = '[]' AND last_seen >= ?3),
  (SELECT count(*) FROM devices WHERE state = 'active' AND blockers = '[]' AND last_seen >= ?3 AND trusted),
  count(*), ifnull(sum(waiting), 0), ifnull(sum(ready), 0), ifnull(sum(leased), 0), ifnull(sum(provisional), 0),
  (SELECT count(*) FROM leases)
FROM jobs WHERE state = 'running'
HAVING NOT EXISTS (SELECT 1 FROM metrics_snapshot WHERE at > ?1 - ?2)

-- name: drop_old_metrics
DELETE FROM metrics_snapshot WHERE at < ?
