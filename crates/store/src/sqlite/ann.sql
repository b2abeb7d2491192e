-- Version 2. Indexes for approximate search lie in files of their own, and can be made again.

CREATE TABLE near (
    collection INTEGER PRIMARY KEY REFERENCES collections ON DELETE CASCADE,
    -- Its file's name. Absent while the first one is made.
    file TEXT,
    bytes INTEGER,
    -- What made it.
    maker TEXT,
    made INTEGER,
    -- Vectors in it, and the state of the collection that it was made of.
    vectors INTEGER,
    generation INTEGER,
    recall REAL
);
-- A bit for each slot whose vector may not be in the index, 32,768 slots a row. Kept only where there
-- is a row in `near`.
CREATE TABLE written (block INTEGER PRIMARY KEY, data BLOB NOT NULL);
