-- oldest program: 1
--
-- Of many schedulers one leads: it does what only one should do (docs/adr/0016).

-- Who leads, in one row.  Whoever takes the lead writes a higher epoch; whoever writes as the leader locks the row FOR SHARE
-- and finds its own epoch there, so that these two exclude each other.
CREATE TABLE lead (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  epoch bigint NOT NULL DEFAULT 0,
  holder text NOT NULL DEFAULT '',        -- the store's instance, as in `schedulers`
  taken_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO lead DEFAULT VALUES;

-- What all schedulers of the grid share and nobody else may read.
CREATE TABLE secrets (
  name text PRIMARY KEY,
  value bytea NOT NULL
);
