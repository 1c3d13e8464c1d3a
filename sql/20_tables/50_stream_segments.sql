CREATE TABLE usher.stream_segments (
    tenant_id     integer NOT NULL,
    stream        text COLLATE "C" NOT NULL,
    from_position bigint NOT NULL,
    first_version bigint NOT NULL,
    CONSTRAINT stream_segments_pkey PRIMARY KEY (tenant_id, stream, from_position)
);
COMMENT ON TABLE usher.stream_segments IS
'Later partitions that hold events of a stream: from_position is the start of the partition, first_version the first version in it (or, when it holds none any more, the version that comes next).';
