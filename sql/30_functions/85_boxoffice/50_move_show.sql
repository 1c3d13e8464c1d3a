CREATE FUNCTION boxoffice.move_show(show bigint, starts_local timestamp, time_zone text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.move_show IS
'Move a show to another local time, and maybe another time zone. Event show.rescheduled on stream show-<id>. Errors: US034 unknown_show, US037 wrong_state of a cancelled one, US018 invalid_argument.';
