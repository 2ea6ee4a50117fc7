-- One sample bank's own system, as far as its connector sees it. Codes and dates are text, as core systems keep them.

CREATE TABLE customer (
    cust_no       TEXT PRIMARY KEY,
    cert_no       TEXT NOT NULL UNIQUE,          -- number of the identity document
    cust_name     TEXT NOT NULL,
    mobile        TEXT,                          -- NULL: no phone on file
    cert_expiry   TEXT NOT NULL,                 -- YYYYMMDD, or 长期 when the document does not expire
    cardless_flag TEXT NOT NULL DEFAULT 'Y',     -- Y, N: payment without the card
    hold_code     TEXT NOT NULL DEFAULT ''       -- empty: nothing is withheld
);

CREATE TABLE card (
    card_no       TEXT PRIMARY KEY,
    cust_no       TEXT NOT NULL REFERENCES customer (cust_no),
    card_type     TEXT NOT NULL,                 -- D debit, C credit, P prepaid
    acct_class    TEXT,                          -- 1, 2, 3; NULL for credit and prepaid cards
    card_status   TEXT NOT NULL,                 -- 0 normal, 1 closed, 2 dormant, 3 not activated, L lost, K locked, C closing
    product_code  TEXT NOT NULL,
    open_date     TEXT NOT NULL,                 -- YYYYMMDD
    last_txn_date TEXT                           -- YYYYMMDD; NULL: never used
);

CREATE INDEX card_of_customer ON card (cust_no);
