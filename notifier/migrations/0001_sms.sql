-- One row per query: who may send its one SMS, and what became of it. The rules are notifier/src/domain/sms.rs.
CREATE TABLE sms (
    upstream TEXT NOT NULL,
    query UUID NOT NULL,
    -- Number of the newest attempt, from 1; it only grows.
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    state TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'sent', 'failed', 'unknown')),
    claimant UUID,
    -- The lease of a claim, by this server's clock.
    claimed_until TIMESTAMPTZ,
    -- The gateway's own id; none when only a delivery receipt tells of the SMS.
    gateway_id TEXT,
    -- Why it failed, or why its outcome is not known.
    code TEXT,
    -- Whether the SMS topic has the outcome.
    announced BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (upstream, query),
    CHECK ((state = 'claimed') = (claimant IS NOT NULL AND claimed_until IS NOT NULL)),
    CHECK ((state IN ('failed', 'unknown')) = (code IS NOT NULL)),
    CHECK (state = 'sent' OR gateway_id IS NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- For forgetting. Of a column that never changes, so that updates stay within their page.
CREATE INDEX sms_created_at ON sms (created_at);

-- How far the rows reflect the SMS topic. It lies beside them, so that a restored backup rewinds both.
CREATE TABLE sms_progress (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
);
