CREATE TYPE usher.memory_message AS (
    number     bigint,
    "position" bigint,
    topic      text,
    key        text,
    headers    jsonb,
    body       text,
    added_at   timestamptz
);
COMMENT ON TYPE usher.memory_message IS
'A message of a memory sink: number counts them from 1; headers are the CloudEvents attributes, body the data or in structured mode the whole event.';
