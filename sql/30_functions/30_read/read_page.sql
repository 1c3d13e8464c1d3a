CREATE FUNCTION usher.read_page(after bigint, max integer, pattern text, scan_max integer DEFAULT 100000, OUT next bigint, OUT events usher.event[])
RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_read_page';
COMMENT ON FUNCTION usher.read_page IS
'As usher.read, for patterns that rarely match: examines at most scan_max events and returns in next how far it has examined, whether or not something matched; go on with after => next.';
