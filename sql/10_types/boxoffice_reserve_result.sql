CREATE TYPE boxoffice.reserve_result AS (
    element    integer,
    sqlstate   text,
    message    text,
    detail     text,
    hint       text,
    retryable  boolean,
    remaining  bigint,
    seats      text[],
    replayed   boolean,
    booking_id uuid,
    code       text,
    booking    json
);
COMMENT ON TYPE boxoffice.reserve_result IS
'What became of a request. element: its index, from 0; sqlstate: null when it was granted. remaining: places that are left, of US030 and US031; retryable: some are held by open transactions; seats: those that were taken already. replayed: the booking was made before, with the same key. code: for the customer; booking: as boxoffice.booking_json has it, without the code.';
