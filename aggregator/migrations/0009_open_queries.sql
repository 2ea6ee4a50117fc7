-- For the gauges: how many queries are open, and since when the oldest one is. Beside `query_open_until`, whose instants depend
-- on the length of the window in force when a query was accepted.
CREATE INDEX query_open_since ON query (accepted_at) WHERE state = 'COLLECTING';
