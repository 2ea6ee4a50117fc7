-- The audit log: one order of all leaves. Who has the row of audit_log locked gives positions; leaves that wait are found by
-- having none, never by an id cursor, which passes over rows whose transaction commits late.
ALTER TABLE audit_leaf
    -- The receipt of a day is of no query.
    ALTER COLUMN upstream DROP NOT NULL,
    ALTER COLUMN query_id DROP NOT NULL,
    ADD CONSTRAINT audit_leaf_of_one_query CHECK ((upstream IS NULL) = (query_id IS NULL)),
    -- In this order leaves that wait get their positions: those of one query as they happened, because a later transaction of
    -- it begins after the one before has committed.
    ADD COLUMN written BIGINT GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN position BIGINT;

CREATE UNIQUE INDEX audit_leaf_position ON audit_leaf (position) WHERE position IS NOT NULL;
CREATE INDEX audit_leaf_waiting ON audit_leaf (written) WHERE position IS NULL;

CREATE TABLE audit_log (
    one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    -- Leaves that have a position.
    size BIGINT NOT NULL DEFAULT 0,
    -- Leaves that the topic has, and the roots of their perfect subtrees, 32 bytes each, the largest first.
    published BIGINT NOT NULL DEFAULT 0 CHECK (published <= size),
    peaks BYTEA NOT NULL DEFAULT '',
    -- Up to here the topic was compared with this table.
    next_offset BIGINT NOT NULL DEFAULT 0,
    -- Who alone may change this row, and until when.
    keeper BYTEA,
    kept_until TIMESTAMPTZ,
    -- The last one. The topic has all.
    checkpoint TEXT,
    checkpoint_at TIMESTAMPTZ
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

INSERT INTO audit_log DEFAULT VALUES;
