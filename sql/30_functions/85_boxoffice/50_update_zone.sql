CREATE FUNCTION boxoffice.update_zone(zone bigint, name text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.update_zone IS
'Give a zone another name. (Its capacity: boxoffice.set_capacity, boxoffice.add_seats.) Event zone.updated on stream zone-<id>. Errors: US034 unknown_show, 23514 check_violation.';
