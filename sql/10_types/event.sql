CREATE TYPE usher.event AS (
    position    bigint,
    tenant      text,
    stream      text,
    version     bigint,
    id          uuid,
    type        text,
    topic       text,
    key         text,
    slot        integer,
    data        jsonb,
    metadata    jsonb,
    recorded_at timestamptz
);
COMMENT ON TYPE usher.event IS
'One event. position: its place in the log (null while its transaction is open); stream and version, or topic and key when it was published without a stream; slot: hash of the key, 0 to 65535; recorded_at never runs backwards by position.';
