CREATE FUNCTION usher.pending_events()
RETURNS setof usher.event
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'usher_pending_events';
COMMENT ON FUNCTION usher.pending_events IS
'This transaction''s events that have no position yet, for the view usher.events.';
