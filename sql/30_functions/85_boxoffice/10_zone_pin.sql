CREATE FUNCTION boxoffice.zone_pin(tenant integer, zone bigint)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_pin';
COMMENT ON FUNCTION boxoffice.zone_pin IS
'Internal: keep a zone''s slot in memory until the end of the transaction, before its first change. Errors: US034 unknown_show, US040 zone_slots.';
