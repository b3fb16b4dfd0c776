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
-- Of the job $1 runs with tasks above index $2, with $3 such tasks or all.
SELECT
  shard.last_task, shard.tasks, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures,
  shard.accepted, shard.reason, shard.ready_at, shard.final_rev, shard.accepted_device
FROM jobs CROSS JOIN LATERAL (
  SELECT page.*, sum(page.wanted) OVER (ORDER BY page.last_task) - page.wanted AS before
  FROM (
    SELECT *, least(tasks, last_task - (jobs.number << 24) - $2::bigint) AS wanted
    FROM job_shards
    WHERE last_task > (jobs.number << 24) + $2::bigint AND last_task <= (jobs.number << 24) + 16777215
    ORDER BY last_task LIMIT $3
  ) AS page
) AS shard
WHERE jobs.id = $1 AND shard.before < $3

-- name: tasks_of_job_in
-- The same, in one of the states $4.
SELECT
  shard.last_task, shard.tasks, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures,
  shard.accepted, shard.reason, shard.ready_at, shard.final_rev, shard.accepted_device
FROM jobs CROSS JOIN LATERAL (
  SELECT page.*, sum(page.wanted) OVER (ORDER BY page.last_task) - page.wanted AS before
  FROM (
    SELECT *, least(tasks, last_task - (jobs.number << 24) - $2::bigint) AS wanted
    FROM job_shards
    WHERE last_task > (jobs.number << 24) + $2::bigint AND last_task <= (jobs.number << 24) + 16777215
      AND state = ANY ($4::smallint[])
    ORDER BY last_task LIMIT $3
  ) AS page
) AS shard
WHERE jobs.id = $1 AND shard.before < $3

-- name: attempts_of_task
-- Of the job $1, the runs in which attempts at the task with the index $2 are, by number.
SELECT
  attempt.last_attempt, attempt.tasks, attempt.device, attempt.owner, attempt.site, attempt.purpose, attempt.epoch,
  attempt.state, attempt.batch, attempt.reason, attempt.positions, attempt.digests, attempt.seconds, devices.id, wanted.key
FROM jobs
CROSS JOIN LATERAL (
  SELECT (jobs.number << 36) + (number << 24) + $2::bigint AS key
  FROM generate_series(0, (
    SELECT last_attempt >> 24 & 4095 FROM job_attempts
    WHERE last_attempt BETWEEN jobs.number << 36 AND (jobs.number << 36) + 68719476735
    ORDER BY last_attempt DESC LIMIT 1
  )) AS number
) AS wanted
CROSS JOIN LATERAL (SELECT * FROM job_attempts WHERE last_attempt >= wanted.key ORDER BY last_attempt LIMIT 1) AS attempt
JOIN devices ON devices.number = attempt.device
WHERE jobs.id = $1 AND $2 BETWEEN 0 AND jobs.tasks - 1 AND attempt.last_attempt - attempt.tasks < wanted.key
ORDER BY wanted.key

-- name: ended
-- Of job number $1 runs with tasks after (final_rev $2, index $3), with $4 such tasks or all; and with each run those of
-- the accepted attempts at its tasks: the key of the last, how many, device, batch and positions.
SELECT
  shard.last_task, shard.tasks, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures,
  shard.accepted, shard.reason, shard.ready_at, shard.final_rev, shard.accepted_device,
  attempt.last_attempt, attempt.tasks, devices.id, attempt.batch, attempt.positions
FROM (
  SELECT page.*, sum(page.wanted) OVER (ORDER BY page.final_rev, page.last_task) - page.wanted AS before
  FROM (
    SELECT
      shard.*, (shard.last_task >> 24 << 36) + (shard.accepted::bigint << 24) + (shard.last_task & 16777215) AS accepted_attempt,
      CASE
        WHEN shard.final_rev > $2 THEN shard.tasks
        ELSE least(shard.tasks, shard.last_task - ($1::bigint << 24) - $3::bigint)
      END AS wanted
    FROM job_shards AS shard
    WHERE shard.last_task >> 24 = $1 AND (shard.final_rev, shard.last_task) > ($2::bigint, ($1::bigint << 24) + $3::bigint)
      AND shard.final_rev > 0
    ORDER BY shard.final_rev, shard.last_task LIMIT $4
  ) AS page
) AS shard
LEFT JOIN LATERAL (
  SELECT * FROM job_attempts
  WHERE job_attempts.last_attempt > shard.accepted_attempt - shard.tasks AND job_attempts.last_attempt < shard.accepted_attempt
  UNION ALL
  (SELECT * FROM job_attempts WHERE job_attempts.last_attempt >= shard.accepted_attempt ORDER BY job_attempts.last_attempt LIMIT 1)
) AS attempt ON shard.state = 4 AND shard.accepted >= 0 AND attempt.last_attempt - attempt.tasks < shard.accepted_attempt
LEFT JOIN devices ON devices.number = attempt.device
WHERE shard.before < $4

-- name: provisional
-- Of the job $1 runs with provisional tasks above index $2, with $3 such tasks or all, as `ended` gives them.  `+ 0` keeps
-- the planner off the index of all provisional tasks.
SELECT
  shard.last_task, shard.tasks, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures,
  shard.accepted, shard.reason, shard.ready_at, shard.final_rev, shard.accepted_device,
  attempt.last_attempt, attempt.tasks, devices.id, attempt.batch, attempt.positions
FROM jobs
CROSS JOIN LATERAL (
  SELECT page.*, sum(page.wanted) OVER (ORDER BY page.last_task) - page.wanted AS before
  FROM (
    SELECT
      *, (last_task >> 24 << 36) + (accepted::bigint << 24) + (last_task & 16777215) AS accepted_attempt,
      least(tasks, last_task - (jobs.number << 24) - $2::bigint) AS wanted
    FROM job_shards
    WHERE last_task > (jobs.number << 24) + $2::bigint AND last_task <= (jobs.number << 24) + 16777215
      AND state + 0 = 3 AND accepted >= 0
    ORDER BY last_task LIMIT $3
  ) AS page
) AS shard
CROSS JOIN LATERAL (
  SELECT * FROM job_attempts
  WHERE job_attempts.last_attempt > shard.accepted_attempt - shard.tasks
    AND job_attempts.last_attempt < shard.accepted_attempt
  UNION ALL
  (SELECT * FROM job_attempts WHERE job_attempts.last_attempt >= shard.accepted_attempt ORDER BY job_attempts.last_attempt LIMIT 1)
) AS attempt
JOIN devices ON devices.number = attempt.device
WHERE jobs.id = $1 AND shard.before < $3 AND attempt.last_attempt - attempt.tasks < shard.accepted_attempt

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

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: last_tick
SELECT coalesce(max(last_tick), 0::float8) FROM schedulers

-- Pages of what names digests, above the key $1.  A row of a job that ended before $2 is in its page with NULL: a page
-- costs the same, however many of its rows are old.

-- name: referenced_specs
-- The table `job_blobs` is not among those that name digests: what is in it is no blob of the blob store.
SELECT spec.job, CASE WHEN job.state = 'running' OR job.finished_at >= $2 THEN spec.spec END
FROM job_specs AS spec JOIN jobs AS job ON job.number = spec.job
WHERE spec.job > $1 ORDER BY spec.job LIMIT 100

-- name: referenced_results
-- A run has up to some hundred digests.
SELECT
  attempt.last_attempt, attempt.tasks, CASE WHEN job.state = 'running' OR job.finished_at >= $2 THEN attempt.digests END
FROM job_attempts AS attempt JOIN jobs AS job ON job.number = attempt.last_attempt >> 36
WHERE attempt.last_attempt > $1 ORDER BY attempt.last_attempt LIMIT 500

-- name: referenced_checkpoints
SELECT checkpoint.number, CASE WHEN job.state = 'running' OR job.finished_at >= $2 THEN checkpoint.blob END
FROM checkpoints AS checkpoint JOIN jobs AS job ON job.number = checkpoint.task >> 24
WHERE checkpoint.number > $1 ORDER BY checkpoint.number LIMIT 10000

-- name: referenced_batches
SELECT batch.number, CASE WHEN job.state = 'running' OR job.finished_at >= $2 THEN batch.content END
FROM result_batches AS batch JOIN jobs AS job ON job.number = batch.job
WHERE batch.number > $1 ORDER BY batch.number LIMIT 64
