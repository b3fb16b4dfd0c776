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

-- name: jobs_by_id
SELECT
  number, jobs.id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason
FROM json_each(?) AS wanted CROSS JOIN jobs ON jobs.id = wanted.value

-- name: specs
SELECT jobs.id, spec
FROM json_each(?) AS wanted
CROSS JOIN jobs ON jobs.id = wanted.value
CROSS JOIN job_specs ON job = jobs.number

-- name: settled_jobs
SELECT id FROM jobs INDEXED BY jobs_settled WHERE state = 'running' AND unsettled = 0

-- name: devices_by_id
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
FROM json_each(?) AS wanted CROSS JOIN devices ON devices.id = wanted.value

-- name: owners
-- Who could take work, seen at or after the given time.
SELECT owner, count(*), sum(trusted)
FROM devices INDEXED BY devices_present
WHERE state = 'active' AND blockers = '[]' AND last_seen >= ?
GROUP BY owner

-- name: all_leases
SELECT epoch, devices.id, jobs.id, granted_at, until, remaining
FROM leases CROSS JOIN devices ON devices.number = leases.device CROSS JOIN jobs ON jobs.number = leases.job

-- name: live_attempts_of_epochs
-- Runs: the key of the last, and how many.
SELECT attempt.last_attempt, attempt.tasks
FROM json_each(?) AS wanted
CROSS JOIN leases AS lease ON lease.epoch = wanted.value
CROSS JOIN job_attempts AS attempt INDEXED BY job_attempts_live
  ON attempt.device = lease.device AND attempt.epoch = lease.epoch AND attempt.state <= 2

-- name: live_attempts_of_devices
SELECT last_attempt, tasks
FROM json_each(?) AS wanted
CROSS JOIN job_attempts INDEXED BY job_attempts_live
  ON device = wanted.value AND state <= 2

-- name: due_tasks
-- Runs: the key of the last, and how many.
SELECT last_task, tasks FROM job_shards INDEXED BY job_shards_due
WHERE state = 0 AND ready_at <= ? ORDER BY ready_at, last_task LIMIT ?

-- name: tainted_tasks
SELECT shard.last_task, shard.tasks
FROM devices AS barred INDEXED BY devices_barred
CROSS JOIN job_shards AS shard INDEXED BY job_shards_provisional
  ON shard.accepted_device = barred.number AND shard.state = 3
WHERE barred.state IN ('quarantined', 'revoked')
ORDER BY barred.number, shard.last_task LIMIT ?

-- name: any_barred
SELECT 1 FROM devices INDEXED BY devices_barred WHERE state IN ('quarantined', 'revoked') LIMIT 1

-- name: tainted_jobs
SELECT DISTINCT jobs.id
FROM devices AS barred INDEXED BY devices_barred
CROSS JOIN job_shards AS shard INDEXED BY job_shards_provisional
  ON shard.accepted_device = barred.number AND shard.state = 3
CROSS JOIN jobs ON jobs.number = shard.job AND jobs.state = 'running'
WHERE barred.state IN ('quarantined', 'revoked')

-- name: ready_tasks
-- At most ?1 runs of fresh tasks, and as many of such that were tried before.
SELECT
  (
    SELECT json_group_array(json_array(
      last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason,
      iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev, accepted_device
    ))
    FROM (
      SELECT shard.*
      FROM jobs INDEXED BY jobs_running
      CROSS JOIN job_shards AS shard INDEXED BY job_shards_fresh
        ON shard.last_task BETWEEN jobs.number << 24 AND (jobs.number << 24) + 16777215
      WHERE jobs.state = 'running' AND shard.open > 0 AND shard.attempts = 0 AND shard.state BETWEEN 1 AND 3
      ORDER BY jobs.priority DESC, jobs.created_at, jobs.number, shard.last_task
      LIMIT ?1
    )
  ),
  (
    SELECT json_group_array(json_array(
      last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason,
      iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev, accepted_device
    ))
    FROM (
      SELECT shard.*
      FROM jobs INDEXED BY jobs_running
      CROSS JOIN job_shards AS shard INDEXED BY job_shards_tried
        ON shard.last_task BETWEEN jobs.number << 24 AND (jobs.number << 24) + 16777215
      WHERE jobs.state = 'running' AND shard.open > 0 AND shard.attempts > 0 AND shard.state BETWEEN 1 AND 3
      ORDER BY jobs.priority DESC, jobs.created_at, jobs.number, shard.last_task
      LIMIT ?1
    )
  )

-- name: tasks_in
-- The runs in which the tasks of the spans are that `[[first, last], ...]` gives.
SELECT json_group_array(json_array(
  last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason,
  iif(ready_at = 0.0, 0.0, printf('%!.20e', ready_at)), final_rev, accepted_device
))
FROM job_shards
WHERE last_task IN (
  SELECT found.last_task
  FROM json_each(?) AS wanted
  CROSS JOIN job_shards AS found
    ON found.last_task >= json_extract(wanted.value, '$[0]') AND found.last_task <= ifnull(
      (
        SELECT next.last_task FROM job_shards AS next
        WHERE next.last_task >= json_extract(wanted.value, '$[1]') ORDER BY next.last_task LIMIT 1
      ),
      9223372036854775807
    )
  WHERE found.last_task - found.tasks < json_extract(wanted.value, '$[1]')
)

-- name: attempts_in
-- The same for attempts.
SELECT json_group_array(json_array(
  last_attempt, tasks, device, owner, site, purpose, epoch, state, batch, reason,
  hex(positions), hex(digests), hex(seconds)
))
FROM job_attempts
WHERE last_attempt IN (
  SELECT found.last_attempt
  FROM json_each(?) AS wanted
  CROSS JOIN job_attempts AS found
    ON found.last_attempt >= json_extract(wanted.value, '$[0]') AND found.last_attempt <= ifnull(
      (
        SELECT next.last_attempt FROM job_attempts AS next
        WHERE next.last_attempt >= json_extract(wanted.value, '$[1]') ORDER BY next.last_attempt LIMIT 1
      ),
      9223372036854775807
    )
  WHERE found.last_attempt - found.tasks < json_extract(wanted.value, '$[1]')
)

-- name: contents
SELECT number, content FROM json_each(?) AS wanted CROSS JOIN result_batches ON number = wanted.value

-- name: standings
-- Of the devices ?1 and the bundles of the jobs ?2, the one that was written last.
SELECT devices.id, standing.bundle, fingerprint, returned, passed, max(standing.number)
FROM json_each(?1) AS wanted
CROSS JOIN devices ON devices.id = wanted.value
CROSS JOIN (SELECT DISTINCT bundle FROM json_each(?2) AS job CROSS JOIN jobs ON jobs.id = job.value) AS needed
CROSS JOIN standings AS standing ON standing.device = devices.number AND standing.bundle = needed.bundle
GROUP BY standing.device, standing.bundle
