-- What becomes of a day of content. Its key is in no table: it lies in a file, and this names it.
CREATE TABLE content_day (
    erase_on DATE PRIMARY KEY,
    -- SHA-256 of a tag and the key.
    key_id BYTEA NOT NULL,
    -- When the watermark reached it, when its tables were gone, when its key was destroyed.
    closed_at TIMESTAMPTZ,
    dropped_at TIMESTAMPTZ,
    key_destroyed_at TIMESTAMPTZ,
    -- The hub's signed word on all of that; written when every query of the day is erased.
    receipt BYTEA,
    CHECK (dropped_at IS NULL OR closed_at IS NOT NULL),
    CHECK (key_destroyed_at IS NULL OR dropped_at IS NOT NULL),
    CHECK (receipt IS NULL OR key_destroyed_at IS NOT NULL)
);

-- For the erase job.
CREATE INDEX content_day_unfinished ON content_day (erase_on) WHERE receipt IS NULL;

-- Every state of a query.
ALTER TABLE query DROP CONSTRAINT IF EXISTS query_state_check;
ALTER TABLE query ADD CONSTRAINT query_state_check CHECK (
    state IN ('HELD', 'COLLECTING', 'FINAL', 'WITHDRAWN', 'REJECTED', 'CANCELLED', 'ERASED'));

-- Queries that a day's erasure has still to end, and those that may go two weeks after it.
CREATE INDEX query_to_erase ON query (erase_on) WHERE state NOT IN ('REJECTED', 'ERASED');
CREATE INDEX query_to_forget ON query (erase_on) WHERE state IN ('REJECTED', 'ERASED');

-- What goes with a query.
CREATE INDEX nonce_of_query ON nonce (upstream, query_id);
CREATE INDEX grant_use_of_query ON grant_use (upstream, query_id);

-- Withdrawals of queries that never came.
CREATE INDEX consent_withdrawn ON consent (withdrawn_at) WHERE withdrawn_at IS NOT NULL;
