CREATE TABLE usher.stream_registry (
    tenant_id      integer NOT NULL,
    stream         text COLLATE "C" NOT NULL,
    category       text COLLATE "C" NOT NULL,
    first_position bigint NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT stream_registry_pkey PRIMARY KEY (tenant_id, stream)
);
COMMENT ON TABLE usher.stream_registry IS
'One insert-only row a stream: its row lock is the stream''s lock. first_position: start of the partition where the stream begins.';
