-- A row stands for a run of tasks, or of attempts, that follow each other and are alike; its key is that of the last.
--
-- Attempts are ordered by job, number, index, so that the first attempts at tasks that follow each other do so too: a key
-- is job number * 2^36 + attempt number * 2^24 + index.
--
-- What differs within a run of attempts is in three columns, one attempt after the other: positions (of each 4 bytes, the
-- highest first), digests (of each as many bytes), seconds (of each 8 bytes of a float, the highest first).  One that is
-- empty says that all are 0, or none.

ALTER TABLE job_shards RENAME TO single_tasks;
DROP INDEX job_shards_fresh;
DROP INDEX job_shards_tried;
DROP INDEX job_shards_due;
DROP INDEX job_shards_provisional;
DROP INDEX job_shards_ended;
CREATE TABLE job_shards (
  last_task INTEGER PRIMARY KEY,
  tasks INTEGER NOT NULL CHECK (tasks > 0),
  state INTEGER NOT NULL,
  purpose INTEGER NOT NULL,
  open INTEGER NOT NULL,
  live INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  reason TEXT NOT NULL,
  ready_at REAL NOT NULL,
  final_rev INTEGER NOT NULL,
  accepted_device INTEGER,        -- of the accepted attempts; NULL without one
  job INTEGER GENERATED ALWAYS AS (last_task >> 24) VIRTUAL,
  last_idx INTEGER GENERATED ALWAYS AS (last_task & 16777215) VIRTUAL
) STRICT;
INSERT INTO job_shards (
  last_task, tasks, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
)
SELECT
  max(task), count(*), state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
FROM (
  SELECT *, task - row_number() OVER (
    PARTITION BY
      job, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device
    ORDER BY task
  ) AS island
  FROM single_tasks
)
GROUP BY
  job, state, purpose, open, live, attempts, failures, accepted, reason, ready_at, final_rev, accepted_device, island;
DROP TABLE single_tasks;
-- Ready, leased or provisional, with a copy to hand out: for the first time, and again.
CREATE INDEX job_shards_fresh ON job_shards (last_task) WHERE open > 0 AND attempts = 0 AND state BETWEEN 1 AND 3;
CREATE INDEX job_shards_tried ON job_shards (last_task) WHERE open > 0 AND attempts > 0 AND state BETWEEN 1 AND 3;
CREATE INDEX job_shards_due ON job_shards (ready_at, last_task) WHERE state = 0;
CREATE INDEX job_shards_provisional ON job_shards (accepted_device, last_task) WHERE state = 3;
CREATE INDEX job_shards_ended ON job_shards (job, final_rev, last_idx) WHERE final_rev > 0;

ALTER TABLE job_attempts RENAME TO single_attempts;
DROP INDEX job_attempts_live;
CREATE TABLE job_attempts (
  last_attempt INTEGER PRIMARY KEY,
  tasks INTEGER NOT NULL CHECK (tasks > 0),
  device INTEGER NOT NULL,
  owner TEXT NOT NULL,
  site TEXT NOT NULL,
  purpose INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  state INTEGER NOT NULL,
  batch INTEGER NOT NULL,
  reason TEXT NOT NULL,
  positions BLOB NOT NULL,
  digests BLOB NOT NULL,
  seconds BLOB NOT NULL,
  job INTEGER GENERATED ALWAYS AS (last_attempt >> 36) VIRTUAL
) STRICT;
INSERT INTO job_attempts (
  last_attempt, tasks, device, owner, site, purpose, epoch, state, batch, reason, positions, digests, seconds
)
SELECT
  (attempt >> 36 << 36) + ((attempt & 4095) << 24) + (attempt >> 12 & 16777215), 1, device, owner, site, purpose, epoch,
  state, batch, reason, packed_position(position), digest, packed_seconds(seconds)
FROM single_attempts;
DROP TABLE single_attempts;
-- Leased, running or yielded.
CREATE INDEX job_attempts_live ON job_attempts (device, epoch) WHERE state <= 2;
