-- Grants that were refused, by the MAC of their person and by hour: what locks views. The digests are those of the signed
-- grants, so that one that is presented again is not counted again. One row per person and hour: its lock puts refusals
-- of one person in a row.

CREATE TABLE refusal (
    hour BIGINT NOT NULL,
    subject_mac BYTEA NOT NULL,
    grants BYTEA[] NOT NULL,
    PRIMARY KEY (hour, subject_mac)
);
