CREATE FUNCTION boxoffice.cancel_show(show bigint, reason text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.cancel_show IS
'Cancel a show; otherwise as boxoffice.cancel_event. Event show.cancelled. Error: US034 unknown_show.';
