-- Version 2. ANN indexes are in files of their own, and can be built again.

CREATE TABLE near (
    collection INTEGER PRIMARY KEY REFERENCES collections ON DELETE CASCADE,
    -- The name of its file. NULL while the first one is built.
    file TEXT,
    bytes INTEGER,
    -- What built it.
    maker TEXT,
    made INTEGER,
    -- Number of vectors in it, and the state of the collection that it was built from.
    vectors INTEGER,
    generation INTEGER,
    recall REAL
);
-- One bit per slot, set if its vector may not be in the index; 32,768 slots per row. Kept only for
-- collections with a row in `near`.
CREATE TABLE written (block INTEGER PRIMARY KEY, data BLOB NOT NULL);
