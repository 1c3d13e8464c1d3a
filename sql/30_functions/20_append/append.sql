CREATE FUNCTION usher.append(stream text, type text, data jsonb DEFAULT '{}', expected_version bigint DEFAULT NULL, metadata jsonb DEFAULT '{}', event_id uuid DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_append';
COMMENT ON FUNCTION usher.append IS
'Append one event to a stream; returns its version (1, 2, 3 ...). It gets its position when the transaction commits. stream, type: 1 to 255 bytes without control characters. data, metadata: JSON objects. expected_version: null any, 0 the stream must not exist, -1 it must exist, n exactly n. event_id: a repeat of the same event within usher.dedupe_window returns the original version and appends nothing. Locks the stream until the transaction ends. Errors: US001 wrong_expected_version (actual version in the detail), US002 stream_deleted, US005 event_id_conflict, US006 invalid_name, US007 invalid_event_data, US008 event_too_large, US009 too_many_events.';
