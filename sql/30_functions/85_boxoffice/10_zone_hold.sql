CREATE FUNCTION boxoffice.zone_hold(tenant integer, zone bigint, wait_ms integer)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_hold';
COMMENT ON FUNCTION boxoffice.zone_hold IS
'Internal: keep everybody from a zone''s slot, wait until nobody uses it, and return its free places; null: it has none; -1: others did not let go in that time.';
