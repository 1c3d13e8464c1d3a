CREATE FUNCTION usher.counter(OUT next bigint, OUT mark bigint, OUT committing integer)
RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_counter';
COMMENT ON FUNCTION usher.counter IS
'Next position to be given, highest durably reserved one, and how many transactions are in the middle of their commit.';
