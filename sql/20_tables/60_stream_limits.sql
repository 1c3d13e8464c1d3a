CREATE TABLE usher.stream_limits (
    tenant_id       integer NOT NULL,
    stream          text COLLATE "C" NOT NULL,
    hidden_before   bigint,
    deleted         boolean NOT NULL DEFAULT false,
    reusable        boolean NOT NULL DEFAULT false,
    max_age         interval CHECK (max_age >= interval '0' AND max_age <= interval '1000 years'),
    max_count       bigint CHECK (max_count > 0),
    truncate_before bigint CHECK (truncate_before > 0),
    CONSTRAINT stream_limits_pkey PRIMARY KEY (tenant_id, stream)
);
COMMENT ON TABLE usher.stream_limits IS
'What stream and category reads hide of a stream. hidden_before: version of its newest tombstone; deleted: that tombstone is final.';
