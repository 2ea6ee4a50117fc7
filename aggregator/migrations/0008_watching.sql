-- What the operator watches and decides about banks.

-- Banks that the operator has paused: they are not asked. One row while it lasts.
CREATE TABLE bank_pause (
    bank TEXT COLLATE "C" PRIMARY KEY,
    since TIMESTAMPTZ NOT NULL,
    reason TEXT NOT NULL,
    by_whom TEXT NOT NULL
);

-- Replies that changed nothing that a person sees, by the hour of their append time. Only inserted, a row per transaction,
-- bank, hour and kind: a counter in a row of its own would have all transactions of a bank wait for each other. Hours that
-- are over are folded.
CREATE TABLE bank_remark (
    hour BIGINT NOT NULL,
    bank TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    n BIGINT NOT NULL,
    folded BOOLEAN NOT NULL DEFAULT false
);

CREATE INDEX bank_remark_of_hour ON bank_remark (hour);

-- For the figures of the last reports.
CREATE INDEX query_final_since ON query (((state_data->>'finalised_at')::bigint)) WHERE state = 'FINAL';
