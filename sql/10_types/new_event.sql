CREATE TYPE usher.new_event AS (
    type     text,
    data     jsonb,
    metadata jsonb,
    event_id uuid
);
COMMENT ON TYPE usher.new_event IS
'An event to be appended by usher.append_batch. Null data and metadata stand for {}, a null event_id for a generated one.';
