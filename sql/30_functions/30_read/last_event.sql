CREATE FUNCTION usher.last_event(stream text, type text DEFAULT NULL)
RETURNS usher.event
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_last_event';
COMMENT ON FUNCTION usher.last_event IS
'The newest event of a stream, or its newest of a type; null when there is none. Includes this transaction''s pending events.';
