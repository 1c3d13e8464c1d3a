CREATE FUNCTION usher.watch_event()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_watch_event';
COMMENT ON FUNCTION usher.watch_event IS
'The trigger function of usher.watch: appends an event for the change. Only for the triggers that usher.watch creates. Errors: as usher.publish, and 42501 when the owner of the table may not append events.';
