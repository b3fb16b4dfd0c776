-- What people and clients read, outside of ticks.  Runs come as one JSON array, as in load.sql.

-- name: job
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM jobs WHERE id = ?

-- name: jobs
-- Newest first, at most ?2, in one of the states ?1, or in any if that is empty.
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM jobs INDEXED BY jobs_newest
WHERE ?1 = '[]' OR state IN (SELECT value FROM json_each(?1))
ORDER BY created_at DESC, number DESC LIMIT ?2

-- name: envelope
SELECT envelope FROM job_specs WHERE job = (SELECT number FROM jobs WHERE id = ?)

-- name: attached
-- The same blob of two jobs has the same content; the first one's is as good as any.
SELECT content FROM job_blobs INDEXED BY job_blobs_digest WHERE digest = ? ORDER BY job LIMIT 1

-- name: job_number
SELECT number FROM jobs WHERE id = ?

-- name: tasks
-- Of a job's keys ?1 to ?2 runs with tasks, with ?4 such tasks or all, in one of the states ?3, or in any if that is empty.
SELECT json_group_array(json_array(
  last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason,
  iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev, accepted_device
))
FROM (
  SELECT *, sum(wanted) OVER (ORDER BY last_task ROWS UNBOUNDED PRECEDING) - wanted AS before
  FROM (
    SELECT *, min(tasks, last_task - ?1 + 1) AS wanted
    FROM job_shards
    WHERE last_task BETWEEN ?1 AND ?2 AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
    ORDER BY last_task LIMIT ?4
  )
)
WHERE before < ?4

-- name: attempts
-- The runs in which the attempts at the task with the key ?1 are, by number, each with the id of its device.
WITH RECURSIVE wanted (number, attempt) AS (
  SELECT 0, (?1 >> 24 << 36) + (?1 & 16777215)
  UNION ALL
  SELECT number + 1, attempt + 16777216 FROM wanted
  WHERE number < (
    SELECT last_attempt >> 24 & 4095 FROM job_attempts
    WHERE last_attempt BETWEEN ?1 >> 24 << 36 AND (?1 >> 24 << 36) + 68719476735
    ORDER BY last_attempt DESC LIMIT 1
  )
)
SELECT json_group_array(json_array(
  found.last_attempt, found.tasks, found.device, found.owner, found.site, found.purpose, found.epoch, found.state,
  found.batch, found.reason, hex(found.positions), hex(found.digests), hex(found.seconds), devices.id
))
FROM wanted
CROSS JOIN job_attempts AS found ON found.last_attempt = (
  SELECT last_attempt FROM job_attempts WHERE last_attempt >= wanted.attempt ORDER BY last_attempt LIMIT 1
)
CROSS JOIN devices ON devices.number = found.device
WHERE found.last_attempt - found.tasks < wanted.attempt

-- name: ended
-- Of job number ?1 runs with tasks after (final_rev ?2, index ?3), with ?4 such tasks or all; and with each run those of the
-- accepted attempts at its tasks: the key of the last, how many, device, batch and positions.
SELECT json_group_array(json_array(
  counted.last_task, counted.tasks, counted.state, counted.purpose, counted.open, counted.live, counted.attempts, counted.failures,
  counted.accepted, counted.reason, iif(counted.ready_at = 0.0, 0.0, printf('%!.20e', counted.ready_at)), counted.final_rev,
  counted.accepted_device, attempt.last_attempt, attempt.tasks, devices.id, attempt.batch, hex(attempt.positions)
))
FROM (
  SELECT *, sum(wanted) OVER (ORDER BY final_rev, last_idx ROWS UNBOUNDED PRECEDING) - wanted AS before
  FROM (
    SELECT
      *, (job << 36) + (accepted << 24) + (last_task & 16777215) AS accepted_attempt,
      iif(final_rev > ?2, tasks, min(tasks, last_idx - ?3)) AS wanted
    FROM job_shards INDEXED BY job_shards_ended
    WHERE job = ?1 AND (final_rev, last_idx) > (?2, ?3) AND final_rev > 0
    ORDER BY final_rev, last_idx LIMIT ?4
  )
) AS counted
LEFT JOIN job_attempts AS attempt
  ON counted.state = 4 AND counted.accepted >= 0 AND attempt.last_attempt > counted.accepted_attempt - counted.tasks
  AND attempt.last_attempt <= ifnull(
    (
      SELECT next.last_attempt FROM job_attempts AS next
      WHERE next.last_attempt >= counted.accepted_attempt ORDER BY next.last_attempt LIMIT 1
    ),
    9223372036854775807
  )
  AND attempt.last_attempt - attempt.tasks < counted.accepted_attempt
LEFT JOIN devices ON devices.number = attempt.device
WHERE counted.before < ?4

-- name: provisional
-- Of a job's keys ?1 to ?2 runs with provisional tasks, with ?3 such tasks or all, as `ended` gives them.
SELECT json_group_array(json_array(
  counted.last_task, counted.tasks, counted.state, counted.purpose, counted.open, counted.live, counted.attempts, counted.failures,
  counted.accepted, counted.reason, iif(counted.ready_at = 0.0, 0.0, printf('%!.20e', counted.ready_at)), counted.final_rev,
  counted.accepted_device, attempt.last_attempt, attempt.tasks, devices.id, attempt.batch, hex(attempt.positions)
))
FROM (
  SELECT *, sum(wanted) OVER (ORDER BY last_task ROWS UNBOUNDED PRECEDING) - wanted AS before
  FROM (
    SELECT
      *, (job << 36) + (accepted << 24) + (last_task & 16777215) AS accepted_attempt,
      min(tasks, last_task - ?1 + 1) AS wanted
    FROM job_shards
    WHERE last_task BETWEEN ?1 AND ?2 AND +state = 3 AND accepted >= 0
    ORDER BY last_task LIMIT ?3
  )
) AS counted
CROSS JOIN job_attempts AS attempt
  ON attempt.last_attempt > counted.accepted_attempt - counted.tasks
  AND attempt.last_attempt <= ifnull(
    (
      SELECT next.last_attempt FROM job_attempts AS next
      WHERE next.last_attempt >= counted.accepted_attempt ORDER BY next.last_attempt LIMIT 1
    ),
    9223372036854775807
  )
  AND attempt.last_attempt - attempt.tasks < counted.accepted_attempt
CROSS JOIN devices ON devices.number = attempt.device
WHERE counted.before < ?3

-- name: batches
SELECT number, content FROM json_each(?) AS wanted CROSS JOIN result_batches ON number = wanted.value

-- name: device
SELECT
  number, id, public_key, owner, site, state, reason, trusted, devices.name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  (
    SELECT json_group_array(json_array(backend, gpu.name, uuid, vram_bytes, driver, compute))
    FROM device_gpus AS gpu WHERE gpu.device = devices.number
  )
FROM devices WHERE id = ?

-- name: devices
SELECT
  number, id, public_key, owner, site, state, reason, trusted, devices.name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  (
    SELECT json_group_array(json_array(backend, gpu.name, uuid, vram_bytes, driver, compute))
    FROM device_gpus AS gpu WHERE gpu.device = devices.number
  )
FROM devices ORDER BY id

-- name: checkpoints
SELECT attempt, step, blob, created_at FROM checkpoints WHERE task = ? ORDER BY number DESC

-- name: audit_log
SELECT number, at, kind, subject, actor, detail FROM audit_log WHERE number > ? ORDER BY number LIMIT ?

-- name: audit_log_of_subject
SELECT number, at, kind, subject, actor, detail FROM audit_log
WHERE subject = ?3 AND number > ?1 ORDER BY number LIMIT ?2

-- name: last_tick
SELECT last_tick FROM grid

-- Pages of what names digests, above the key ?1.  A row of a job that ended before ?2 is in its page with NULL: a page
-- costs the same, however many of its rows are old.

-- name: referenced_specs
-- The table `job_blobs` is not among those that name digests: what is in it is no blob of the blob store.
SELECT spec.job, iif(job.state = 'running' OR job.finished_at >= ?2, spec.spec, NULL)
FROM job_specs AS spec CROSS JOIN jobs AS job ON job.number = spec.job
WHERE spec.job > ?1 ORDER BY spec.job LIMIT 100

-- name: referenced_results
-- A run has up to some hundred digests.
SELECT
  attempt.last_attempt, attempt.tasks, iif(job.state = 'running' OR job.finished_at >= ?2, attempt.digests, NULL)
FROM job_attempts AS attempt CROSS JOIN jobs AS job ON job.number = attempt.job
WHERE attempt.last_attempt > ?1 ORDER BY attempt.last_attempt LIMIT 500

-- name: referenced_checkpoints
SELECT checkpoint.number, iif(job.state = 'running' OR job.finished_at >= ?2, checkpoint.blob, NULL)
FROM checkpoints AS checkpoint CROSS JOIN jobs AS job ON job.number = checkpoint.task >> 24
WHERE checkpoint.number > ?1 ORDER BY checkpoint.number LIMIT 10000

-- name: referenced_batches
SELECT batch.number, iif(job.state = 'running' OR job.finished_at >= ?2, batch.content, NULL)
FROM result_batches AS batch CROSS JOIN jobs AS job ON job.number = batch.job
WHERE batch.number > ?1 ORDER BY batch.number LIMIT 64
