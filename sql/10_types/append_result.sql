CREATE TYPE usher.append_result AS (
    element        integer,
    sqlstate       text,
    message        text,
    detail         text,
    hint           text,
    event_index    integer,
    actual_version bigint,
    replayed       boolean,
    ids            uuid[],
    versions       bigint[],
    positions      bigint[],
    ordinals       integer[]
);
COMMENT ON TYPE usher.append_result IS
'What became of element (from 0) of usher.append_requests. sqlstate null: it stands in the log when the transaction has committed. Else it was refused as a whole, for the event at event_index (from 0; null: for the request itself); actual_version with US001. replayed: it is a repeat, and the events are the original''s. One entry an event in ids, versions (0: published), and in positions and ordinals: positions has those of events that were in the log before (0: of this transaction, or retention has removed it; null: all are new); ordinals says which of this transaction''s events it is, from 1 (0: in the log before; null: all were), so that once it has committed its position is first + ordinal - 1, first being that of usher.committed_range.';
