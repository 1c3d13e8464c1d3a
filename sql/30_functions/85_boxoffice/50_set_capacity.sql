CREATE FUNCTION boxoffice.set_capacity(zone bigint, capacity bigint)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.set_capacity IS
'Change the capacity of a zone that has no numbered seats, also while it is sold. Never below what is held and sold. Event zone.capacity_changed on stream zone-<id>. Errors: US030 sold_out (with what is left), US034 unknown_show, US018 invalid_argument.';
