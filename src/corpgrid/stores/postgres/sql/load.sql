-- What a tick reads.  Locks come first, in one order for everybody: jobs that it needs (waiting), jobs that it may take (not
-- waiting), devices (waiting); what is read after a lock is as the last holder left it, for each statement has a snapshot
-- of its own.

-- name: lock_jobs
-- The jobs $1, those of tasks on which the devices $2 have a lease, and those on which the released devices $3 work.
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason, bundle
FROM jobs
WHERE number IN (
  SELECT wanted.number FROM jobs AS wanted WHERE wanted.id = ANY ($1::text[])
  UNION
  SELECT lease.job FROM devices JOIN leases AS lease ON lease.device = devices.number WHERE devices.id = ANY ($2::text[])
  UNION
  SELECT attempt.last_attempt >> 36
  FROM devices JOIN job_attempts AS attempt ON attempt.device = devices.number AND attempt.state <= 2
  WHERE devices.id = ANY ($3::text[])
)
ORDER BY number FOR UPDATE OF jobs

-- name: lock_ready_jobs
-- Jobs that seem to have ready tasks, as many as it takes for $1 fresh and $1 tried ones, in the order in which they go;
-- one that somebody else holds is passed over.  A job is locked when it is drawn, and none is drawn beyond the limit.
-- `OFFSET 0` keeps the planner from comparing all jobs with all that is ready.
WITH fresh AS MATERIALIZED (
  SELECT locked.number
  FROM (
    SELECT number, id FROM jobs
    WHERE state = 'running' AND EXISTS (
      SELECT FROM job_shards AS shard
      WHERE shard.last_task BETWEEN jobs.number << 24 AND (jobs.number << 24) + 16777215
        AND shard.open > 0 AND shard.attempts = 0 AND shard.state BETWEEN 1 AND 3
      OFFSET 0
    )
    ORDER BY priority DESC, created_at, number
    LIMIT $1
    FOR UPDATE OF jobs SKIP LOCKED
  ) AS locked CROSS JOIN LATERAL (
    SELECT generate_series(1, least(shard.tasks, $1)) FROM job_shards AS shard
    WHERE shard.last_task BETWEEN locked.number << 24 AND (locked.number << 24) + 16777215
      AND shard.open > 0 AND shard.attempts = 0 AND shard.state BETWEEN 1 AND 3
    LIMIT $1
  ) AS wanting
  LIMIT $1
), tried AS MATERIALIZED (
  SELECT locked.number
  FROM (
    SELECT number, id FROM jobs
    WHERE state = 'running' AND EXISTS (
      SELECT FROM job_shards AS shard
      WHERE shard.last_task BETWEEN jobs.number << 24 AND (jobs.number << 24) + 16777215
        AND shard.open > 0 AND shard.attempts > 0 AND shard.state BETWEEN 1 AND 3
      OFFSET 0
    )
    ORDER BY priority DESC, created_at, number
    LIMIT $1
    FOR UPDATE OF jobs SKIP LOCKED
  ) AS locked CROSS JOIN LATERAL (
    SELECT generate_series(1, least(shard.tasks, $1)) FROM job_shards AS shard
    WHERE shard.last_task BETWEEN locked.number << 24 AND (locked.number << 24) + 16777215
      AND shard.open > 0 AND shard.attempts > 0 AND shard.state BETWEEN 1 AND 3
    LIMIT $1
  ) AS wanting
  LIMIT $1
)
SELECT
  ARRAY(SELECT number FROM (SELECT number, row_number() OVER () AS place FROM fresh) AS placed GROUP BY number ORDER BY min(place)),
  ARRAY(SELECT number FROM (SELECT number, row_number() OVER () AS place FROM tried) AS placed GROUP BY number ORDER BY min(place))

-- name: lock_swept_jobs
-- Jobs for which time has come: at $1, or now; at most $2 tasks of each kind are looked at.
WITH moment AS MATERIALIZED (
  SELECT coalesce($1::float8, extract(epoch FROM clock_timestamp())::float8) AS now
), swept AS MATERIALIZED (
  (SELECT job FROM leases WHERE until <= (SELECT now FROM moment) ORDER BY until, epoch LIMIT $2)
  UNION ALL
  (SELECT last_task >> 24 FROM job_shards WHERE state = 0 AND ready_at <= (SELECT now FROM moment) ORDER BY ready_at, last_task LIMIT $2)
  UNION ALL
  (
    SELECT shard.last_task >> 24
    FROM devices AS barred JOIN job_shards AS shard ON shard.accepted_device = barred.number AND shard.state = 3
    WHERE barred.state IN ('quarantined', 'revoked')
    ORDER BY barred.number, shard.last_task LIMIT $2
  )
  UNION ALL
  (SELECT number FROM jobs WHERE state = 'running' AND unsettled = 0)
)
SELECT number FROM jobs WHERE number IN (SELECT job FROM swept) ORDER BY number FOR UPDATE OF jobs SKIP LOCKED

-- name: swept
-- Of the jobs $3: leases that ran out, runs of tasks that are due and of barred devices, and jobs that can close.
WITH moment AS MATERIALIZED (
  SELECT coalesce($1::float8, extract(epoch FROM clock_timestamp())::float8) AS now
)
SELECT
  ARRAY(
    SELECT lease
    FROM leases AS lease JOIN (
      SELECT epoch, sum(remaining) OVER (ORDER BY until, epoch) - remaining AS before
      FROM leases WHERE until <= (SELECT now FROM moment) AND job = ANY ($3::bigint[])
    ) AS expired ON expired.epoch = lease.epoch AND expired.before < $2
    ORDER BY lease.until, lease.epoch
  ),
  ARRAY(
    SELECT shard FROM job_shards AS shard
    WHERE state = 0 AND ready_at <= (SELECT now FROM moment) AND last_task >> 24 = ANY ($3::bigint[])
    ORDER BY ready_at, last_task LIMIT $2
  ),
  ARRAY(
    SELECT shard
    FROM devices AS barred JOIN job_shards AS shard ON shard.accepted_device = barred.number AND shard.state = 3
    WHERE barred.state IN ('quarantined', 'revoked') AND shard.last_task >> 24 = ANY ($3::bigint[])
    ORDER BY barred.number, shard.last_task LIMIT $2
  ),
  ARRAY(SELECT number FROM jobs WHERE number = ANY ($3::bigint[]) AND state = 'running' AND unsettled = 0)

-- name: jobs_by_number
-- Of jobs that are locked already.
SELECT
  number, id, name, submitter, tenant, priority, tasks, created_at, state, finished_at, rev,
  waiting, ready, leased, provisional, final, failed, cancelled,
  unsettled, executions, audits, mismatches, audit_rate, error_bound, reason, bundle
FROM jobs WHERE number = ANY ($1::bigint[])

-- name: live_attempts
-- Runs of those of the devices $1, and of those under the leases $2: the key of the last, and how many.
SELECT attempt.last_attempt, attempt.tasks
FROM devices JOIN job_attempts AS attempt ON attempt.device = devices.number AND attempt.state <= 2
WHERE devices.id = ANY ($1::text[])
UNION
SELECT attempt.last_attempt, attempt.tasks
FROM leases AS lease
JOIN job_attempts AS attempt ON attempt.device = lease.device AND attempt.epoch = lease.epoch AND attempt.state <= 2
WHERE lease.epoch = ANY ($2::bigint[])

-- name: tasks
-- Runs with $3 fresh tasks (0) of the jobs $1 and as many tried ones (1) of the jobs $2, in this order; and those in which
-- the tasks from $4 to $5 are (2).
(
  SELECT
    0, last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
  FROM (
    SELECT shard.*, sum(shard.tasks) OVER (ORDER BY wanted.place, shard.last_task) - shard.tasks AS before
    FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (job, place) CROSS JOIN LATERAL (
      SELECT * FROM job_shards
      WHERE last_task BETWEEN wanted.job << 24 AND (wanted.job << 24) + 16777215
        AND open > 0 AND attempts = 0 AND state BETWEEN 1 AND 3
      ORDER BY last_task LIMIT $3
    ) AS shard
    ORDER BY wanted.place, shard.last_task LIMIT $3
  ) AS counted
  WHERE before < $3
)
UNION ALL
(
  SELECT
    1, last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
  FROM (
    SELECT shard.*, sum(shard.tasks) OVER (ORDER BY wanted.place, shard.last_task) - shard.tasks AS before
    FROM unnest($2::bigint[]) WITH ORDINALITY AS wanted (job, place) CROSS JOIN LATERAL (
      SELECT * FROM job_shards
      WHERE last_task BETWEEN wanted.job << 24 AND (wanted.job << 24) + 16777215
        AND open > 0 AND attempts > 0 AND state BETWEEN 1 AND 3
      ORDER BY last_task LIMIT $3
    ) AS shard
    ORDER BY wanted.place, shard.last_task LIMIT $3
  ) AS counted
  WHERE before < $3
)
UNION ALL
(
  SELECT DISTINCT ON (last_task)
    2, last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
  FROM unnest($4::bigint[], $5::bigint[]) AS wanted (first, last) CROSS JOIN LATERAL (
    SELECT * FROM job_shards
    WHERE wanted.first < wanted.last AND last_task >= wanted.first AND last_task < wanted.last
    UNION ALL
    (SELECT * FROM job_shards WHERE last_task >= wanted.last ORDER BY last_task LIMIT 1)
  ) AS found
  WHERE found.last_task - found.tasks < wanted.last
)

-- name: attempts
-- The runs in which the attempts from $1 to $2 are.
SELECT DISTINCT ON (last_attempt)
  last_attempt, tasks, device, owner, site, purpose, epoch, state, batch, reason, positions, digests, seconds
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (first, last) CROSS JOIN LATERAL (
  SELECT * FROM job_attempts
  WHERE wanted.first < wanted.last AND last_attempt >= wanted.first AND last_attempt < wanted.last
  UNION ALL
  (SELECT * FROM job_attempts WHERE last_attempt >= wanted.last ORDER BY last_attempt LIMIT 1)
) AS found
WHERE found.last_attempt - found.tasks < wanted.last

-- name: devices
-- The devices $1 and $2, which are locked, and the devices $3, which are only looked at; with the version of each row.
WITH locked AS MATERIALIZED (
  SELECT *, devices.xmin AS version
  FROM devices
  WHERE number IN (
    SELECT wanted.number FROM devices AS wanted WHERE wanted.id = ANY ($1::text[]) UNION SELECT unnest($2::bigint[])
  )
  ORDER BY number FOR UPDATE OF devices
)
SELECT
  number, id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  true AS held, version
FROM locked
UNION ALL
SELECT
  number, id, public_key, owner, site, state, reason, trusted, name,
  hostname, operating_system, architecture, python, engines, sandbox, cpus, memory_bytes, disk_free_bytes, labels,
  thermal_headroom, agent_version,
  on_ac_power, battery_percent, blockers, capacity, leased, session, boot, registered_at, last_seen, completed,
  correctness_alpha, correctness_beta, correctness_at, availability_alpha, availability_beta, availability_at,
  false, devices.xmin
FROM devices WHERE number = ANY ($3::bigint[])

-- name: rest
-- What is read when all locks are held: the time, a block of numbers (the block $5 while nobody took another), leases of
-- the devices $1 and with the epochs $2, GPUs of the devices $3, their newest standings with the bundles $4, and whether
-- any device is barred.
SELECT
  extract(epoch FROM clock_timestamp())::float8,
  (
    SELECT CASE WHEN blocks.last_value = $5::bigint AND blocks.is_called THEN $5::bigint ELSE nextval('number_blocks') END
    FROM number_blocks AS blocks
  ),
  ARRAY(
    SELECT lease FROM leases AS lease WHERE lease.device = ANY ($1::bigint[])
    UNION
    SELECT lease FROM leases AS lease WHERE lease.epoch = ANY ($2::bigint[])
  ),
  ARRAY(SELECT gpu FROM device_gpus AS gpu WHERE gpu.device = ANY ($3::bigint[]) ORDER BY gpu.device, gpu.position),
  ARRAY(
    SELECT standing FROM standings AS standing
    WHERE standing.device = ANY ($3::bigint[]) AND standing.bundle = ANY ($4::bytea[])
    ORDER BY standing.number
  ),
  EXISTS (SELECT FROM devices WHERE state IN ('quarantined', 'revoked'))

-- name: owners
-- Who could take work, seen at $1 or later.
SELECT owner, count(*), count(*) FILTER (WHERE trusted)
FROM devices WHERE state = 'active' AND blockers = '[]' AND last_seen >= $1
GROUP BY owner

-- name: tainted_jobs
WITH tainted AS MATERIALIZED (
  SELECT DISTINCT shard.last_task >> 24 AS job
  FROM devices AS barred JOIN job_shards AS shard ON shard.accepted_device = barred.number AND shard.state = 3
  WHERE barred.state IN ('quarantined', 'revoked')
)
SELECT jobs.id FROM tainted JOIN jobs ON jobs.number = tainted.job WHERE jobs.state = 'running'

-- name: specs
SELECT job, spec FROM job_specs WHERE job = ANY ($1::bigint[])

-- name: contents
SELECT number, content FROM result_batches WHERE number = ANY ($1::bigint[])
