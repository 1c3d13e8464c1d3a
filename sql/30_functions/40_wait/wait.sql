CREATE FUNCTION usher.wait(after bigint, timeout interval DEFAULT '5 s', pattern text DEFAULT '*')
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_wait';
COMMENT ON FUNCTION usher.wait IS
'Wait until an event of the session''s tenant whose type matches the pattern is stable beyond after; returns the stable position, also when the timeout (at most 5 seconds, as the statement holds a snapshot) is over. For longer waits: CALL usher.wait_for.';
