-- Sealed content, one partition per day of erasure: erasing a day is dropping its partitions, without a trace in the
-- others. There is no default partition: it would take in what belongs to an erased day, and a day could not be detached
-- while others work.

CREATE TABLE segment (
    erase_on DATE NOT NULL,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    bank TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (erase_on, upstream, query_id, bank)
) PARTITION BY RANGE (erase_on);

CREATE TABLE coverage (
    erase_on DATE NOT NULL,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    signed BYTEA NOT NULL,
    PRIMARY KEY (erase_on, upstream, query_id)
) PARTITION BY RANGE (erase_on);

CREATE TABLE contact (
    erase_on DATE NOT NULL,
    upstream TEXT COLLATE "C" NOT NULL,
    query_id UUID NOT NULL,
    statement BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (erase_on, upstream, query_id)
) PARTITION BY RANGE (erase_on);

-- Sealed bytes do not compress.
ALTER TABLE segment ALTER COLUMN sealed SET STORAGE EXTERNAL;
ALTER TABLE contact ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- One row that only grows: every day up to this one is erased. Whoever writes holds the table in ROW SHARE mode until its
-- commit, whoever erases in EXCLUSIVE mode: so nothing is written into a day that is being erased.
CREATE TABLE watermark (
    erased_through DATE NOT NULL,
    single BOOLEAN PRIMARY KEY DEFAULT true CHECK (single)
);
INSERT INTO watermark (erased_through) VALUES ('1970-01-01');
