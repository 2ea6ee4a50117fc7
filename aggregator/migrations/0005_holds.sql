-- Queries that wait for their release, and those that waited in vain.
ALTER TABLE query DROP CONSTRAINT query_state_check;
ALTER TABLE query ADD CONSTRAINT query_state_check
    CHECK (state IN ('HELD', 'COLLECTING', 'FINAL', 'WITHDRAWN', 'REJECTED', 'CANCELLED'));

-- For the sweep of holds.
CREATE INDEX query_held_until ON query (((state_data->>'release_until')::bigint)) WHERE state = 'HELD';

-- How often people ask, by the MAC of their pseudonym: their open query, and when their last report became final. A
-- registration takes the row of its person, so that of two at once one sees the other.
CREATE TABLE asking (
    subject_mac BYTEA PRIMARY KEY,
    open_upstream TEXT COLLATE "C",
    open_query_id UUID,
    reported_at TIMESTAMPTZ,
    CHECK ((open_upstream IS NULL) = (open_query_id IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- For forgetting.
CREATE INDEX asking_idle ON asking (reported_at) WHERE open_query_id IS NULL;
