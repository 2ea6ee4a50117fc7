-- An SMS may wait, for a better time or for what the gateway says when it is asked, and a receipt may tell of its delivery.
ALTER TABLE sms
    DROP CONSTRAINT sms_state_check,
    ADD CONSTRAINT sms_state_check CHECK (
        state IN ('pending', 'waiting', 'claimed', 'sent', 'delivered', 'undelivered', 'failed', 'unknown')
    ),
    -- Before this a waiting SMS is neither sent nor asked for.
    ADD COLUMN waits_until TIMESTAMPTZ,
    -- When somebody has to look after the row: a wait or a lease is over, or an outcome is not in the SMS topic yet.
    ADD COLUMN due_at TIMESTAMPTZ,
    -- Where the notice stands in its topic, to be read again when it is due: the sealed contact is not stored here.
    ADD COLUMN notice_partition INTEGER,
    ADD COLUMN notice_offset BIGINT,
    -- What was asked of the gateway and what it answered while the outcome was open: steps, answers, times.
    ADD COLUMN evidence JSONB NOT NULL DEFAULT '[]',
    -- What the gateway knows the SMS by. None in rows of before: no gateway of theirs sends receipts.
    ADD COLUMN out_id UUID UNIQUE,
    -- Whether the SMS is among those that its phone got on a day.
    ADD COLUMN counted BOOLEAN NOT NULL DEFAULT false,
    ADD CHECK ((state = 'waiting') = (waits_until IS NOT NULL)),
    ADD CHECK ((notice_partition IS NULL) = (notice_offset IS NULL));

-- What an instance of before left behind: its claims, and outcomes that the topic may lack.
UPDATE sms SET state = 'delivered' WHERE state = 'sent' AND gateway_id IS NULL;
UPDATE sms SET due_at = coalesce(claimed_until, changed_at) WHERE state <> 'pending' AND NOT announced;

CREATE INDEX sms_due_at ON sms (due_at) WHERE due_at IS NOT NULL;

-- SMS per phone and day. A phone stands here as a MAC under a key of its own, and with no query beside it.
CREATE TABLE sms_per_phone (
    phone BYTEA NOT NULL CHECK (octet_length(phone) = 32),
    day DATE NOT NULL,
    sent INTEGER NOT NULL CHECK (sent > 0),
    PRIMARY KEY (day, phone)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
