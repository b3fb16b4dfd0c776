-- What people and clients read, outside of ticks.

-- name: job
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM jobs WHERE id = $1

-- name: jobs
-- Newest first, at most $1.
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM jobs ORDER BY created_at DESC, number DESC LIMIT $1

-- name: jobs_in
-- The same, in one of the states $2.
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM jobs WHERE state = ANY ($2::text[]) ORDER BY created_at DESC, number DESC LIMIT $1

-- name: envelope
SELECT envelope FROM jobs JOIN job_specs ON job = number WHERE id = $1

-- name: attached
-- The same blob of two jobs has the same content; the first one's is as good as any.
SELECT content FROM job_blobs WHERE digest = $1 ORDER BY job LIMIT 1

-- name: tasks_of_job
-- Of the job $1 above index $2, at most $3.
SELECT shard.task, shard.state, purpose, open, live, attempts, failures, accepted, shard.reason, ready_at, final_rev
FROM jobs JOIN job_shards AS shard
  ON shard.task > (jobs.number << 24) + $2::bigint AND shard.task <= (jobs.number << 24) + 16777215
WHERE jobs.id = $1 ORDER BY shard.task LIMIT $3

-- name: tasks_of_job_in
-- The same, in one of the states $4.
SELECT shard.task, shard.state, purpose, open, live, attempts, failures, accepted, shard.reason, ready_at, final_rev
FROM jobs JOIN job_shards AS shard
  ON shard.task > (jobs.number << 24) + $2::bigint AND shard.task <= (jobs.number << 24) + 16777215
WHERE jobs.id = $1 AND shard.state = ANY ($4::smallint[]) ORDER BY shard.task LIMIT $3

-- name: attempts_of_task
-- Of the job $1, the index $2.
SELECT
  attempt.attempt, devices.id, attempt.owner, attempt.site, attempt.purpose, attempt.epoch, attempt.state, attempt.batch,
  attempt.position, attempt.digest, attempt.reason, attempt.seconds
FROM jobs
JOIN job_attempts AS attempt
  ON attempt.attempt BETWEEN ((jobs.number << 24) + $2::bigint) << 12 AND (((jobs.number << 24) + $2::bigint) << 12) + 4095
JOIN devices ON devices.number = attempt.device
WHERE jobs.id = $1 ORDER BY attempt.attempt

-- name: ended
-- Of job number $1 after (final_rev $2, index $3), at most $4, with device, batch and position of the result, if any.
SELECT
  shard.task, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures, shard.accepted,
  shard.reason, shard.ready_at, shard.final_rev,
  coalesce(devices.id, ''), coalesce(attempt.batch, 0), coalesce(attempt.position, 0)
FROM job_shards AS shard
LEFT JOIN job_attempts AS attempt ON attempt.attempt = (shard.task << 12 | shard.accepted) AND shard.state = 4
LEFT JOIN devices ON devices.number = attempt.device
WHERE shard.task >> 24 = $1 AND (shard.final_rev, shard.task) > ($2::bigint, ($1::bigint << 24) + $3::bigint)
  AND shard.final_rev > 0
ORDER BY shard.final_rev, shard.task LIMIT $4

-- name: provisional
-- Of the job $1 above index $2, at most $3, with device, batch and position of the result.  `+ 0` keeps the planner off
-- the index of all provisional tasks.
SELECT
  shard.task, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures, shard.accepted,
  shard.reason, shard.ready_at, shard.final_rev, devices.id, attempt.batch, attempt.position
FROM jobs
JOIN job_shards AS shard
  ON shard.task > (jobs.number << 24) + $2::bigint AND shard.task <= (jobs.number << 24) + 16777215 AND shard.state + 0 = 3
JOIN job_attempts AS attempt ON attempt.attempt = (shard.task << 12 | shard.accepted) AND shard.accepted >= 0
JOIN devices ON devices.number = attempt.device
WHERE jobs.id = $1 ORDER BY shard.task LIMIT $3

-- name: batches
SELECT number, content FROM result_batches WHERE number = ANY ($1::bigint[])

-- name: device
SELECT
  number, id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  ARRAY(SELECT gpu FROM device_gpus AS gpu WHERE gpu.device = devices.number ORDER BY gpu.position)
FROM devices WHERE id = $1

-- name: all_devices
SELECT
  number, id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  ARRAY(SELECT gpu FROM device_gpus AS gpu WHERE gpu.device = devices.number ORDER BY gpu.position)
FROM devices ORDER BY id

-- name: checkpoints
-- Of the job $1, the index $2, newest first.
SELECT attempt, step, blob, checkpoints.created_at
FROM jobs JOIN checkpoints ON task = (jobs.number << 24) + $2::bigint
WHERE jobs.id = $1 ORDER BY checkpoints.number DESC

-- name: audit_log
SELECT number, at, kind, subject, actor, detail FROM audit_log WHERE number > $1 ORDER BY number LIMIT $2

-- name: audit_log_of_subject
SELECT number, at, kind, subject, actor, detail FROM audit_log
WHERE subject = $3 AND number > $1 ORDER BY number LIMIT $2

-- name: last_tick
SELECT coalesce(max(last_tick), 0::float8) FROM schedulers

-- name: referenced_specs
-- The table `job_blobs` is not among those that name digests: what is in it is no blob of the blob store.
SELECT job, spec FROM job_specs WHERE job > $1 ORDER BY job LIMIT 100

-- name: referenced_results
SELECT attempt, digest FROM job_attempts WHERE attempt > $1 ORDER BY attempt LIMIT 10000

-- name: referenced_checkpoints
SELECT number, blob FROM checkpoints WHERE number > $1 ORDER BY number LIMIT 10000

-- name: referenced_batches
SELECT number, content FROM result_batches WHERE number > $1 ORDER BY number LIMIT 64
