-- What people and clients read, outside of ticks.

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

-- name: job_number
SELECT number FROM jobs WHERE id = ?

-- name: tasks
-- Above task number ?1 and up to ?2, at most ?4, in one of the states ?3, or in any if that is empty.
SELECT
  job, idx, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev
FROM job_shards
WHERE task > ?1 AND task <= ?2 AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
ORDER BY task LIMIT ?4

-- name: attempts
SELECT
  attempt.job, idx, attempt.number, devices.id, attempt.owner, attempt.site, purpose, epoch, attempt.state, batch,
  position, digest, attempt.reason, seconds
FROM job_attempts AS attempt JOIN devices ON devices.number = attempt.device
WHERE attempt.attempt BETWEEN ?1 << 12 AND (?1 << 12) + 4095
ORDER BY attempt.attempt

-- name: ended
-- Of job ?1 after (?2, task number ?3).
SELECT
  shard.job, shard.idx, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures,
  shard.accepted, shard.reason, shard.ready_at, shard.final_rev,
  ifnull(devices.id, ''), ifnull(attempt.batch, 0), ifnull(attempt.position, 0)
FROM job_shards AS shard INDEXED BY job_shards_ended
LEFT JOIN job_attempts AS attempt
  ON attempt.attempt = shard.task << 12 | shard.accepted AND shard.state = 4
LEFT JOIN devices ON devices.number = attempt.device
WHERE shard.job = ?1 AND (shard.final_rev, shard.task) > (?2, ?3) AND shard.final_rev > 0
ORDER BY shard.final_rev, shard.task LIMIT ?4

-- name: provisional
-- Above task number ?1 and up to ?2.
SELECT
  shard.job, shard.idx, shard.state, shard.purpose, shard.open, shard.live, shard.attempts, shard.failures,
  shard.accepted, shard.reason, shard.ready_at, shard.final_rev,
  devices.id, attempt.batch, attempt.position
FROM job_shards AS shard
JOIN job_attempts AS attempt ON attempt.attempt = shard.task << 12 | shard.accepted AND shard.accepted >= 0
JOIN devices ON devices.number = attempt.device
WHERE shard.task > ?1 AND shard.task <= ?2 AND shard.state = 3
ORDER BY shard.task LIMIT ?3

-- name: batches
SELECT number, content FROM json_each(?) AS wanted CROSS JOIN result_batches ON number = wanted.value

-- name: device
SELECT
  number, id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at
FROM devices WHERE id = ?

-- name: gpus_of_device
SELECT device, gpu.backend, gpu.name, gpu.uuid, gpu.vram_bytes, gpu.driver, gpu.compute
FROM devices JOIN device_gpus AS gpu ON gpu.device = devices.number
WHERE devices.id = ? ORDER BY position

-- name: devices
SELECT
  number, id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at
FROM devices ORDER BY id

-- name: all_gpus
SELECT device, backend, name, uuid, vram_bytes, driver, compute FROM device_gpus ORDER BY device, position

-- name: checkpoints
SELECT attempt, step, blob, created_at FROM checkpoints WHERE task = ? ORDER BY number DESC

-- name: audit_log
SELECT number, at, kind, subject, actor, detail FROM audit_log WHERE number > ? ORDER BY number LIMIT ?

-- name: audit_log_of_subject
SELECT number, at, kind, subject, actor, detail FROM audit_log
WHERE subject = ?3 AND number > ?1 ORDER BY number LIMIT ?2

-- name: last_tick
SELECT last_tick FROM grid

-- name: referenced_specs
SELECT job, spec FROM job_specs WHERE job > ? ORDER BY job LIMIT 100

-- name: referenced_results
SELECT attempt, digest FROM job_attempts WHERE attempt > ? ORDER BY attempt LIMIT 10000

-- name: referenced_checkpoints
SELECT number, blob FROM checkpoints WHERE number > ? ORDER BY number LIMIT 10000

-- name: referenced_batches
SELECT number, content FROM result_batches WHERE number > ? ORDER BY number LIMIT 64
