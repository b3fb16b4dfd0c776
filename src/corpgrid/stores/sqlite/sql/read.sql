-- What people and clients read, outside of ticks.  Tasks and attempts come as one JSON array, as in load.sql.

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
-- Above task number ?1 and up to ?2, at most ?4, in one of the states ?3, or in any if that is empty.
SELECT json_group_array(json_array(
  job, idx, state, purpose, open, live, attempts, failures, accepted, reason,
  iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev
))
FROM (
  SELECT * FROM job_shards
  WHERE task > ?1 AND task <= ?2 AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
  ORDER BY task LIMIT ?4
)

-- name: attempts
SELECT json_group_array(json_array(
  job, idx, number, provider, owner, site, purpose, epoch, state, batch, position, hex(digest), reason,
  iif(seconds = 0.0, 0.0, printf('%!.20e', seconds))
))
FROM (
  SELECT attempt.*, devices.id AS provider
  FROM job_attempts AS attempt JOIN devices ON devices.number = attempt.device
  WHERE attempt.attempt BETWEEN ?1 << 12 AND (?1 << 12) + 4095
  ORDER BY attempt.attempt
)

-- name: ended
-- Of job ?1 after (final_rev ?2, index ?3), with device, batch and position of the result, if there is one.
SELECT json_group_array(json_array(
  job, idx, state, purpose, open, live, attempts, failures, accepted, reason,
  iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev, ifnull(provider, ''), ifnull(batch, 0), ifnull(position, 0)
))
FROM (
  SELECT shard.*, devices.id AS provider, attempt.batch, attempt.position
  FROM job_shards AS shard INDEXED BY job_shards_ended
  LEFT JOIN job_attempts AS attempt
    ON attempt.attempt = shard.task << 12 | shard.accepted AND shard.state = 4
  LEFT JOIN devices ON devices.number = attempt.device
  WHERE shard.job = ?1 AND (shard.final_rev, shard.idx) > (?2, ?3) AND shard.final_rev > 0
  ORDER BY shard.final_rev, shard.idx LIMIT ?4
)

-- name: provisional
-- Above task number ?1 and up to ?2, with device, batch and position of the result.
SELECT json_group_array(json_array(
  job, idx, state, purpose, open, live, attempts, failures, accepted, reason,
  iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev, provider, batch, position
))
FROM (
  SELECT shard.*, devices.id AS provider, attempt.batch, attempt.position
  FROM job_shards AS shard
  JOIN job_attempts AS attempt
    ON attempt.attempt = shard.task << 12 | shard.accepted AND shard.accepted >= 0
  JOIN devices ON devices.number = attempt.device
  WHERE shard.task > ?1 AND shard.task <= ?2 AND shard.state = 3
  ORDER BY shard.task LIMIT ?3
)

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
SELECT attempt.attempt, iif(job.state = 'running' OR job.finished_at >= ?2, attempt.digest, NULL)
FROM job_attempts AS attempt CROSS JOIN jobs AS job ON job.number = attempt.job
WHERE attempt.attempt > ?1 ORDER BY attempt.attempt LIMIT 10000

-- name: referenced_checkpoints
SELECT checkpoint.number, iif(job.state = 'running' OR job.finished_at >= ?2, checkpoint.blob, NULL)
FROM checkpoints AS checkpoint CROSS JOIN jobs AS job ON job.number = checkpoint.task >> 24
WHERE checkpoint.number > ?1 ORDER BY checkpoint.number LIMIT 10000

-- name: referenced_batches
SELECT batch.number, iif(job.state = 'running' OR job.finished_at >= ?2, batch.content, NULL)
FROM result_batches AS batch CROSS JOIN jobs AS job ON job.number = batch.job
WHERE batch.number > ?1 ORDER BY batch.number LIMIT 64
