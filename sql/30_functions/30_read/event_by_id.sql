CREATE FUNCTION usher.event_by_id(id uuid)
RETURNS usher.event
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_event_by_id';
COMMENT ON FUNCTION usher.event_by_id IS
'The tenant''s event with this id, pending ones of this transaction included; null when there is none.';
