CREATE TYPE usher.request_event AS (
    stream           text,
    type             text,
    data             text,
    metadata         text,
    expected_version bigint,
    event_id         uuid,
    topic            text,
    key              text
);
COMMENT ON TYPE usher.request_event IS
'An event of a request of usher.append_requests: appended to a stream, with expected_version as for usher.append; or published with a topic and a key, as by usher.publish. data and metadata are JSON texts of objects, null stands for {}.';
