CREATE FUNCTION boxoffice.zone_unhold()
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_unhold';
COMMENT ON FUNCTION boxoffice.zone_unhold IS
'Internal: let others use the zone again that zone_hold has kept them from.';
