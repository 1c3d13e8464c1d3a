CREATE FUNCTION boxoffice.zone_peek(tenant integer, zone bigint)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_peek';
COMMENT ON FUNCTION boxoffice.zone_peek IS
'Internal: free places of a zone by its slot; null: it has none.';
