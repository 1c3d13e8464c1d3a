CREATE TYPE usher.delivery AS (
    lease       bigint,
    partition   integer,
    attempt     integer,
    "position"  bigint,
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
COMMENT ON TYPE usher.delivery IS
'An event as usher.poll delivers it: lease is what to acknowledge, attempt is 1 the first time; the other fields are those of usher.event.';
