-- What old jobs left is thrown away (stores/collecting.py).  `jobs_to_mark` and `..._to_drop` read a page of keys above $1,
-- and whether each is of a job that ended before $2; the others take the keys as an array, and look again.
-- `OFFSET 0` keeps the planner from reading all rows of an inner table at once.

-- name: jobs_to_mark
SELECT number, state <> 'running' AND finished_at < $2 AND NOT EXISTS (
  SELECT FROM audit_log WHERE subject = jobs.id AND kind = 'job.collected' OFFSET 0
)
FROM jobs WHERE number > $1 ORDER BY number LIMIT 1000

-- name: lock_ended_jobs
SELECT number FROM jobs
WHERE number = ANY ($1::bigint[]) AND state <> 'running' AND finished_at < $2
ORDER BY number FOR UPDATE OF jobs

-- name: mark_collected
-- Jobs that are locked: whoever marked them before has committed.  At $2, saying $3.
INSERT INTO audit_log (at, kind, subject, actor, detail)
SELECT $2, 'job.collected', id, 'scheduler', $3
FROM jobs
WHERE number = ANY ($1::bigint[])
  AND NOT EXISTS (SELECT FROM audit_log WHERE subject = jobs.id AND kind = 'job.collected')
ORDER BY number
RETURNING 1

-- name: batches_to_drop
SELECT batch.number, job.state <> 'running' AND job.finished_at < $2
FROM result_batches AS batch JOIN jobs AS job ON job.number = batch.job
WHERE batch.number > $1 ORDER BY batch.number LIMIT 1000

-- name: drop_batches
DELETE FROM result_batches AS batch USING jobs AS job
WHERE batch.number = ANY ($1::bigint[]) AND job.number = batch.job AND job.state <> 'running' AND job.finished_at < $2

-- name: job_blobs_to_drop
SELECT number, state <> 'running' AND finished_at < $2 AND EXISTS (
  SELECT FROM job_blobs WHERE job = jobs.number OFFSET 0
)
FROM jobs WHERE number > $1 ORDER BY number LIMIT 1000

-- name: drop_job_blobs
DELETE FROM job_blobs AS blob USING jobs AS job
WHERE blob.job = ANY ($1::bigint[]) AND job.number = blob.job AND job.state <> 'running' AND job.finished_at < $2

-- name: checkpoints_to_drop
SELECT checkpoint.number, job.state <> 'running' AND job.finished_at < $2
FROM checkpoints AS checkpoint JOIN jobs AS job ON job.number = checkpoint.task >> 24
WHERE checkpoint.number > $1 ORDER BY checkpoint.number LIMIT 1000

-- name: drop_checkpoints
DELETE FROM checkpoints AS checkpoint USING jobs AS job
WHERE checkpoint.number = ANY ($1::bigint[]) AND job.number = checkpoint.task >> 24
  AND job.state <> 'running' AND job.finished_at < $2
