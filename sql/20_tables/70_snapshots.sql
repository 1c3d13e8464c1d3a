CREATE TABLE usher.snapshots (
    tenant_id  integer NOT NULL,
    stream     text COLLATE "C" NOT NULL,
    reducer    text COLLATE "C" NOT NULL,
    definition text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    state      jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT snapshots_pkey PRIMARY KEY (tenant_id, stream, reducer)
);
COMMENT ON TABLE usher.snapshots IS
'Folded states kept by usher.aggregate: the state of a stream after `version`. definition: hash of the reducer''s body, the initial state and the calling role; a snapshot of another definition is not used.';
