-- The log. Fixed-width columns stand first: the commit callback writes position and recorded_at into
-- tuples that were formed at append. Columns are only ever added at the end.
CREATE TABLE usher.log (
    position      bigint NOT NULL,
    recorded_at   timestamptz NOT NULL,
    id            uuid NOT NULL,
    tenant_id     integer NOT NULL,
    slot          integer NOT NULL,
    flags         integer NOT NULL,
    category_hash integer NOT NULL,
    version       bigint,
    stream        text COLLATE "C",
    category      text COLLATE "C",
    type          text COLLATE "C" NOT NULL,
    topic         text COLLATE "C",
    key           text COLLATE "C",
    data          jsonb NOT NULL,
    metadata      jsonb NOT NULL
) PARTITION BY RANGE (position);
COMMENT ON TABLE usher.log IS
'Every event of every tenant, once, partitioned by position; rows are never updated or deleted. category_hash: what the category is found by. flags: 1 tombstone, 2 of a reusable stream, 4 the id is indexed (given by the client, or of a transaction that was open for more than a second).';
