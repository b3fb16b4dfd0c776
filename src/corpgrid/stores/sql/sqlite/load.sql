-- What a tick reads.  A parameter `?` of a statement over many rows is one JSON array of integers or texts.
--
-- Tasks and attempts come by the hundred, so they come as one row, a JSON array of arrays: each step of a statement gives up
-- the interpreter's lock, and with it, under load, a moment of the event loop's time.  `printf` writes a float with all
-- its digits, which JSON does not.

-- name: grid
SELECT next_epoch, next_batch, last_tick FROM grid

-- name: job_numbers
SELECT id, number FROM jobs WHERE id IN (SELECT value FROM json_each(?))

-- name: job_ids
SELECT id, number FROM jobs WHERE number IN (SELECT value FROM json_each(?))

-- name: device_numbers
SELECT id, number FROM devices WHERE id IN (SELECT value FROM json_each(?))

-- name: device_ids
SELECT id, number FROM devices WHERE number IN (SELECT value FROM json_each(?))

-- name: jobs_by_number
SELECT
  number, jobs.id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM json_each(?) AS wanted CROSS JOIN jobs ON number = wanted.value

-- name: specs
SELECT job, spec FROM json_each(?) AS wanted CROSS JOIN job_specs ON job = wanted.value

-- name: settled_jobs
SELECT number FROM jobs INDEXED BY jobs_settled WHERE state = 'running' AND unsettled = 0

-- name: devices_by_number
-- The last column has the GPUs, which come by position: that is the key of their table.
SELECT
  number, devices.id, public_key, owner, site, state, reason, trusted, devices.name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  (
    SELECT json_group_array(json_array(backend, gpu.name, uuid, vram_bytes, driver, compute))
    FROM device_gpus AS gpu WHERE gpu.device = devices.number
  )
FROM json_each(?) AS wanted CROSS JOIN devices ON number = wanted.value

-- name: owners
-- Who could take work, seen at or after the given time.
SELECT owner, count(*), sum(trusted)
FROM devices INDEXED BY devices_present
WHERE state = 'active' AND blockers = '[]' AND last_seen >= ?
GROUP BY owner

-- name: leases_of_devices
SELECT epoch, device, job, granted_at, until, remaining
FROM json_each(?) AS wanted CROSS JOIN leases INDEXED BY leases_device ON device = wanted.value

-- name: leases_by_epoch
SELECT epoch, device, job, granted_at, until, remaining
FROM json_each(?) AS wanted CROSS JOIN leases ON epoch = wanted.value

-- name: expired_leases
-- Those that ran out by ?1, oldest first, until their live attempts reach ?2.
SELECT epoch, device, job, granted_at, until, remaining
FROM (
  SELECT *, sum(remaining) OVER (ORDER BY until, epoch) - remaining AS before
  FROM leases INDEXED BY leases_until
  WHERE until <= ?1
)
WHERE before < ?2
ORDER BY until, epoch

-- name: live_tasks_of_epochs
SELECT DISTINCT task
FROM json_each(?) AS wanted
CROSS JOIN leases AS lease ON lease.epoch = wanted.value
CROSS JOIN job_attempts AS attempt INDEXED BY job_attempts_live
  ON attempt.device = lease.device AND attempt.epoch = lease.epoch AND attempt.state <= 2

-- name: live_tasks_of_devices
SELECT DISTINCT task
FROM json_each(?) AS wanted
CROSS JOIN job_attempts INDEXED BY job_attempts_live
  ON device = wanted.value AND state <= 2

-- name: due_tasks
SELECT task FROM job_shards INDEXED BY job_shards_due
WHERE state = 0 AND ready_at <= ? ORDER BY ready_at, task LIMIT ?

-- name: tainted_tasks
SELECT task
FROM devices AS barred INDEXED BY devices_barred
CROSS JOIN job_shards AS shard INDEXED BY job_shards_provisional
  ON shard.accepted_device = barred.number AND shard.state = 3
WHERE barred.state IN ('quarantined', 'revoked')
ORDER BY barred.number, task LIMIT ?

-- name: tainted_jobs
SELECT DISTINCT jobs.number
FROM devices AS barred INDEXED BY devices_barred
CROSS JOIN job_shards AS shard INDEXED BY job_shards_provisional
  ON shard.accepted_device = barred.number AND shard.state = 3
CROSS JOIN jobs ON jobs.number = shard.job AND jobs.state = 'running'
WHERE barred.state IN ('quarantined', 'revoked')

-- name: ready_tasks
-- Fresh ones, and those that were tried before; at most ?1 of each.
SELECT
  (
    SELECT json_group_array(json_array(
      job, idx, state, purpose, open, live, attempts, failures, accepted, reason,
      iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev
    ))
    FROM (
      SELECT shard.*
      FROM jobs INDEXED BY jobs_running
      CROSS JOIN job_shards AS shard INDEXED BY job_shards_fresh
        ON shard.task BETWEEN jobs.number << 24 AND (jobs.number << 24) + 16777215
      WHERE jobs.state = 'running' AND shard.open > 0 AND shard.attempts = 0 AND shard.state BETWEEN 1 AND 3
      ORDER BY jobs.priority DESC, jobs.created_at, jobs.number, shard.task
      LIMIT ?1
    )
  ),
  (
    SELECT json_group_array(json_array(
      job, idx, state, purpose, open, live, attempts, failures, accepted, reason,
      iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev
    ))
    FROM (
      SELECT shard.*
      FROM jobs INDEXED BY jobs_running
      CROSS JOIN job_shards AS shard INDEXED BY job_shards_tried
        ON shard.task BETWEEN jobs.number << 24 AND (jobs.number << 24) + 16777215
      WHERE jobs.state = 'running' AND shard.open > 0 AND shard.attempts > 0 AND shard.state BETWEEN 1 AND 3
      ORDER BY jobs.priority DESC, jobs.created_at, jobs.number, shard.task
      LIMIT ?1
    )
  )

-- name: tasks_by_key
SELECT json_group_array(json_array(
  job, idx, state, purpose, open, live, attempts, failures, accepted, reason,
  iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev
))
FROM json_each(?) AS wanted CROSS JOIN job_shards ON task = wanted.value

-- name: attempts_by_key
-- Task by task as they stand in the array (a cross join keeps its order), each by number.
SELECT json_group_array(json_array(
  job, idx, number, device, owner, site, purpose, epoch, state, batch, position, hex(digest), reason,
  iif(seconds = 0.0, 0.0, printf('%!.20e', seconds))
))
FROM json_each(?) AS wanted
CROSS JOIN job_attempts ON attempt BETWEEN wanted.value << 12 AND (wanted.value << 12) + 4095

-- name: contents
SELECT number, content FROM json_each(?) AS wanted CROSS JOIN result_batches ON number = wanted.value

-- name: standings
-- Of the devices ?1 and the bundles of the jobs ?2, the one that was written last.
SELECT standing.device, standing.bundle, fingerprint, returned, passed, max(standing.number)
FROM json_each(?1) AS wanted
CROSS JOIN (SELECT DISTINCT bundle FROM json_each(?2) AS job CROSS JOIN jobs ON jobs.number = job.value) AS needed
CROSS JOIN standings AS standing ON standing.device = wanted.value AND standing.bundle = needed.bundle
GROUP BY standing.device, standing.bundle
