CREATE FUNCTION usher.poke_housekeeping()
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_poke_housekeeping';
COMMENT ON FUNCTION usher.poke_housekeeping IS
'Internal: wake the housekeeping worker when this transaction commits, to look at the removal requests.';
