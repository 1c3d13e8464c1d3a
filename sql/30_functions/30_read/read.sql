CREATE FUNCTION usher.read(after bigint DEFAULT 0, max integer DEFAULT 1000, pattern text DEFAULT '*')
RETURNS setof usher.event
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'usher_read';
COMMENT ON FUNCTION usher.read IS
'Events of the session''s tenant with position > after whose type matches the pattern (see usher.matches), at most max, in order of position, never past the stable position: whoever follows it with the position of the last row misses nothing and waits for nobody''s open transaction. Errors: US004 position_gone (the oldest position is in the detail), US012 isolation_level in REPEATABLE READ and SERIALIZABLE.';
