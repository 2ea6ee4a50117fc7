-- Messages that wait to be produced. Rows hold ids; what is sealed is added as it is produced. A row is leased, and goes
-- when Kafka has its record: so all that stand here are unpublished.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('event', 'notice', 'cancel')),
    event BYTEA,
    bank TEXT,
    leased_until TIMESTAMPTZ,
    CHECK ((kind = 'event') = (event IS NOT NULL)),
    CHECK ((kind = 'cancel') = (bank IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- A row waits for an older one of its query.
CREATE INDEX outbox_of_query ON outbox (upstream, query_id, id);

-- Rows that can never be produced, for the operator.
CREATE TABLE outbox_parked (
    id BIGINT PRIMARY KEY,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    kind TEXT NOT NULL,
    event BYTEA,
    bank TEXT,
    code TEXT NOT NULL,
    parked_at TIMESTAMPTZ NOT NULL
);

-- What each state change of a query leaves behind for auditors, written with it. In no order: positions come later, so
-- that no writer waits for a global one. The id is derived from the query and the kind, so that a repeat inserts nothing.
CREATE TABLE audit_leaf (
    leaf_id BYTEA PRIMARY KEY,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    body BYTEA NOT NULL
);

CREATE INDEX audit_leaf_of_query ON audit_leaf (upstream, query_id);
