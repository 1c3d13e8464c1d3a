CREATE FUNCTION boxoffice.zone_untake(tenant integer, zone bigint, n bigint)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_zone_untake';
COMMENT ON FUNCTION boxoffice.zone_untake IS
'Internal: put places back that this (sub)transaction has taken.';
