-- Ids of parties compare by byte, as in the code: transactions take their locks in that order.

-- One row per query, without content and without partitions: its id is unique for ever, whatever its day.
CREATE TABLE query (
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    subject TEXT NOT NULL,
    content_digest BYTEA NOT NULL,
    report_key BYTEA NOT NULL,
    -- Where its record lies: sealed identities are not stored a second time, asking again reads them there.
    record_topic TEXT NOT NULL,
    record_partition INTEGER NOT NULL,
    record_offset BIGINT NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL,
    reply_by TIMESTAMPTZ NOT NULL,
    deadline_at TIMESTAMPTZ NOT NULL,
    erase_on DATE NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('COLLECTING', 'FINAL', 'WITHDRAWN', 'REJECTED')),
    -- What an ended query ended with: outcomes, instants, codes. An open one has pairs instead.
    state_data JSONB,
    -- When its banks were asked for the first time.
    asked_at TIMESTAMPTZ,
    PRIMARY KEY (upstream, query_id),
    CHECK ((state = 'COLLECTING') = (state_data IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);

-- For the sweep of deadlines.
CREATE INDEX query_open_until ON query (deadline_at) WHERE state = 'COLLECTING';

-- One row per open (query, bank); gone when the query ends. Written only under the lock of its query.
CREATE TABLE pair (
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    bank TEXT COLLATE "C" NOT NULL,
    statement_sha256 BYTEA NOT NULL,
    attempts INTEGER NOT NULL,
    ask_again_at TIMESTAMPTZ,
    closed_outcome TEXT CHECK (closed_outcome IN ('ANSWERED', 'REFUSED')),
    closed_segment_sha256 BYTEA,
    closed_appended_at TIMESTAMPTZ,
    closed_partition INTEGER,
    closed_offset BIGINT,
    unavailable BOOLEAN NOT NULL,
    invalid BOOLEAN NOT NULL,
    conflict BOOLEAN NOT NULL,
    -- Per partition of the bank's reply topic, the next offset whose record may still have an effect.
    read_to JSONB NOT NULL,
    PRIMARY KEY (upstream, query_id, bank),
    CHECK (num_nulls(closed_outcome, closed_segment_sha256, closed_appended_at, closed_partition, closed_offset) IN (0, 5))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);

-- For the sweep of second questions: a closed pair is never asked again.
CREATE INDEX pair_due ON pair (ask_again_at) WHERE ask_again_at IS NOT NULL;

-- One row per query that was heard of, by its registration or by its withdrawal, whichever came first. Both take it
-- before they look at the query, so neither passes the other unseen.
CREATE TABLE consent (
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    withdrawn_at TIMESTAMPTZ,
    PRIMARY KEY (upstream, query_id)
);

-- A consent is used once.
CREATE TABLE nonce (
    nonce BYTEA PRIMARY KEY,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL
);

-- A view grant is used once; the digest tells the same grant shown again.
CREATE TABLE grant_use (
    nonce BYTEA PRIMARY KEY,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    digest BYTEA NOT NULL
);

-- How far each partition has been read. It lies beside what was read, so that a restored backup rewinds both.
CREATE TABLE progress (
    topic TEXT COLLATE "C" NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    append_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
