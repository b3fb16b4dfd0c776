-- What old jobs left is thrown away (stores/collecting.py).  `jobs_to_mark` and `..._to_drop` read a page of keys above ?1,
-- and whether each is of a job that ended before ?2; the others take the keys as an array, and look again.

-- name: jobs_to_mark
SELECT number, state <> 'running' AND finished_at < ?2 AND NOT EXISTS (
  SELECT 1 FROM audit_log WHERE subject = jobs.id AND kind = 'job.collected'
)
FROM jobs WHERE number > ?1 ORDER BY number LIMIT 1000

-- name: mark_collected
-- At ?3, saying ?4.
INSERT INTO audit_log (at, kind, subject, actor, detail)
SELECT ?3, 'job.collected', id, 'scheduler', ?4
FROM jobs
WHERE number IN (SELECT value FROM json_each(?1)) AND state <> 'running' AND finished_at < ?2
  AND NOT EXISTS (SELECT 1 FROM audit_log WHERE subject = jobs.id AND kind = 'job.collected')
ORDER BY number
RETURNING 1

-- name: batches_to_drop
SELECT batch.number, job.state <> 'running' AND job.finished_at < ?2
FROM result_batches AS batch CROSS JOIN jobs AS job ON job.number = batch.job
WHERE batch.number > ?1 ORDER BY batch.number LIMIT 1000

-- name: drop_batches
DELETE FROM result_batches
WHERE number IN (SELECT value FROM json_each(?1))
  AND job IN (SELECT number FROM jobs WHERE number = result_batches.job AND state <> 'running' AND finished_at < ?2)

-- name: job_blobs_to_drop
SELECT number, state <> 'running' AND finished_at < ?2 AND EXISTS (SELECT 1 FROM job_blobs WHERE job = jobs.number)
FROM jobs WHERE number > ?1 ORDER BY number LIMIT 1000

-- name: drop_job_blobs
DELETE FROM job_blobs
WHERE job IN (
  SELECT number FROM jobs
  WHERE number IN (SELECT value FROM json_each(?1)) AND state <> 'running' AND finished_at < ?2
)

-- name: checkpoints_to_drop
SELECT checkpoint.number, job.state <> 'running' AND job.finished_at < ?2
FROM checkpoints AS checkpoint CROSS JOIN jobs AS job ON job.number = checkpoint.task >> 24
WHERE checkpoint.number > ?1 ORDER BY checkpoint.number LIMIT 1000

-- name: drop_checkpoints
DELETE FROM checkpoints
WHERE number IN (SELECT value FROM json_each(?1))
  AND task >> 24 IN (
    SELECT number FROM jobs WHERE number = checkpoints.task >> 24 AND state <> 'running' AND finished_at < ?2
  )
