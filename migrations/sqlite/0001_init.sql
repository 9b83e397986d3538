-- The first schema. A database knows its version by `PRAGMA user_version`; this file is never changed
-- once released, later ones are only ever added.
--
-- Row ids that somebody outside may remember (mailbox, body, message) are AUTOINCREMENT: SQLite then
-- keeps the highest one that ever was, so that none is given out twice, not even after its row is gone.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    era INTEGER NOT NULL                       -- random; the first half of every unique-id
) STRICT;

CREATE TABLE mailbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE,             -- the address in the form that is compared
    origin   INTEGER NOT NULL CHECK (origin IN (0, 1)), -- 0: added as an account, 1: made by mail
    password TEXT,                             -- PHC string
    quota    INTEGER,                          -- octets; NULL: the default of the configuration
    octets   INTEGER NOT NULL DEFAULT 0,       -- of all its messages, trace lines included
    messages INTEGER NOT NULL DEFAULT 0,
    created  INTEGER NOT NULL                  -- unix seconds
) STRICT;

CREATE TABLE alias (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,              -- an address, or '@domain' for a catch-all
    created INTEGER NOT NULL                   -- unix seconds
) STRICT;

CREATE TABLE alias_target (
    alias  INTEGER NOT NULL REFERENCES alias (id) ON DELETE CASCADE,
    place  INTEGER NOT NULL,                   -- the order in which they were written
    target TEXT NOT NULL,
    PRIMARY KEY (alias, place)
) STRICT, WITHOUT ROWID;

-- A message as it was received, once, however many mailboxes have it. A small one is in `data`, a
-- large one in `chunks` rows of chunk.
CREATE TABLE body (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    copies INTEGER NOT NULL CHECK (copies >= 0), -- messages that name it; 0: staged, nobody's yet
    octets INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    data   BLOB
) STRICT;

CREATE INDEX body_staged ON body (id) WHERE copies = 0;

CREATE TABLE chunk (
    key  INTEGER PRIMARY KEY,                  -- body id * 65536 + place of the chunk
    data BLOB NOT NULL
) STRICT;

-- One message in one mailbox. There is no foreign key to body: it would need an index on `body` only
-- to be checked, and `copies` already tells when a body may go.
CREATE TABLE message (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox  INTEGER NOT NULL REFERENCES mailbox (id),
    body     INTEGER NOT NULL,
    octets   INTEGER NOT NULL,                 -- head and body
    received INTEGER NOT NULL,                 -- unix seconds
    head     BLOB NOT NULL                     -- the trace lines of this copy
) STRICT;

-- A listing reads this index alone.
CREATE INDEX message_by_mailbox ON message (mailbox, id, octets);
