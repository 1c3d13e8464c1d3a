CREATE FUNCTION boxoffice.zone_take(tenant integer, zone bigint, n bigint)
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_take';
COMMENT ON FUNCTION boxoffice.zone_take IS
'Internal: take places of a zone at once; they come back when the transaction or its savepoint rolls back. False: there are not as many.';
