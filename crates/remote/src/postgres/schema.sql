CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS kokeshi;

-- Each collection has two more tables, documents_ID and chunks_ID.
CREATE TABLE IF NOT EXISTS kokeshi.collections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    -- Seconds since 1970.
    created bigint NOT NULL,
    -- The provenance of its vectors, as JSON.
    provenance text NOT NULL
);

CREATE TABLE IF NOT EXISTS kokeshi.aliases (
    alias text PRIMARY KEY,
    collection bigint NOT NULL REFERENCES kokeshi.collections ON DELETE CASCADE
);

-- Paths that were indexed, and how, so that they can be indexed again.
CREATE TABLE IF NOT EXISTS kokeshi.roots (
    collection bigint NOT NULL REFERENCES kokeshi.collections ON DELETE CASCADE,
    path text NOT NULL,
    options text NOT NULL,
    PRIMARY KEY (collection, path)
);
