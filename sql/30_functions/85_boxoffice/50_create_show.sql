CREATE FUNCTION boxoffice.create_show(event bigint, time_zone text, starts_local timestamp)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.create_show IS
'Make a show of an event, at a local time in an IANA time zone; returns its id. Event show.created on stream show-<id>. Errors: US034 unknown_show, US018 invalid_argument.';
