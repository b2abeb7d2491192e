-- Version 1. One file holds everything, so that one transaction can change everything.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The provenance of a collection's vectors: one column for each field of Provenance.
CREATE TABLE collections (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    passage_task TEXT,
    query_task TEXT,
    dimensions INTEGER NOT NULL,
    normalised INTEGER NOT NULL,
    chunking TEXT NOT NULL,
    late INTEGER NOT NULL,
    storage TEXT NOT NULL,
    codes TEXT,
    created INTEGER NOT NULL,
    -- Counts the transactions that changed it, so that caches know when they are stale.
    generation INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE
) WITHOUT ROWID;

-- Paths that were indexed, and how, so that they can be indexed again.
CREATE TABLE roots (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    path TEXT NOT NULL,
    options TEXT NOT NULL,
    PRIMARY KEY (collection, path)
) WITHOUT ROWID;

CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    path TEXT NOT NULL,
    hash TEXT NOT NULL,
    modified INTEGER NOT NULL,
    size INTEGER NOT NULL,
    format TEXT NOT NULL,
    metadata TEXT NOT NULL,
    UNIQUE (collection, path)
);

CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    collection INTEGER NOT NULL,
    -- The row of its vector, unique in the collection.
    slot INTEGER NOT NULL,
    first_byte INTEGER NOT NULL,
    end_byte INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    page INTEGER,
    metadata TEXT,
    text TEXT NOT NULL,
    UNIQUE (document, ordinal)
);
CREATE UNIQUE INDEX chunks_by_slot ON chunks (collection, slot);

-- Words of chunks. rowid is the chunk's id; the text itself is not stored twice.
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

-- Blocks of rows. The key is the id of the collection times 2^32 plus the number of the block.
CREATE TABLE vectors (block INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE codes (block INTEGER PRIMARY KEY, data BLOB NOT NULL);
-- One bit per slot, set if a chunk uses it; 32,768 slots per row.
CREATE TABLE live (block INTEGER PRIMARY KEY, data BLOB NOT NULL);
