-- Small blobs that came with a job (its list of pages, its only page): in rows of the job, so that the commit that takes
-- the job takes them too.
CREATE TABLE job_blobs (
  job INTEGER NOT NULL,
  digest BLOB NOT NULL,
  content BLOB NOT NULL,
  PRIMARY KEY (job, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_blobs_digest ON job_blobs (digest);
