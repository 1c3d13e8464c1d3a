CREATE FUNCTION boxoffice.zone_give(tenant integer, zone bigint, n bigint)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_give';
COMMENT ON FUNCTION boxoffice.zone_give IS
'Internal: places come free once this transaction has committed.';
