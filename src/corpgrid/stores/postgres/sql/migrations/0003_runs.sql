-- A row stands for a run of tasks, or of attempts, that follow each other and are alike; its key is that of the last.  The
-- keys have new names, so that a program that takes a row for one task finds no row at all.
--
-- Attempts are ordered by job, number, index, so that the first attempts at tasks that follow each other do so too: a key
-- is job number * 2^36 + attempt number * 2^24 + index.
--
-- What differs within a run of attempts is in three columns, one attempt after the other: positions (of each 4 bytes, the
-- highest first), digests (of each as many bytes), seconds (of each 8 bytes, as float8send gives them).  One that is empty
-- says that all are 0, or none.

ALTER TABLE job_shards RENAME COLUMN task TO last_task;
ALTER TABLE job_shards ADD COLUMN tasks integer NOT NULL DEFAULT 1 CHECK (tasks > 0);
ALTER TABLE job_shards ALTER COLUMN tasks DROP DEFAULT;

ALTER TABLE job_attempts RENAME COLUMN attempt TO last_attempt;
ALTER TABLE job_attempts RENAME COLUMN position TO positions;
ALTER TABLE job_attempts RENAME COLUMN digest TO digests;
ALTER TABLE job_attempts
  ALTER COLUMN last_attempt TYPE bigint
    USING (last_attempt >> 36 << 36) + ((last_attempt & 4095) << 24) + (last_attempt >> 12 & 16777215),
  ALTER COLUMN positions TYPE bytea USING int4send(positions),
  ALTER COLUMN seconds TYPE bytea USING float8send(seconds),
  ADD COLUMN tasks integer NOT NULL DEFAULT 1 CHECK (tasks > 0);
ALTER TABLE job_attempts ALTER COLUMN tasks DROP DEFAULT;
-- Digests are random: to try to compress them is lost work.
ALTER TABLE job_attempts ALTER COLUMN digests SET STORAGE EXTERNAL;
