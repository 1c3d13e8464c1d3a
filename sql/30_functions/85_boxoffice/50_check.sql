CREATE FUNCTION boxoffice.check(wait interval DEFAULT '5 seconds')
RETURNS TABLE (invariant text, ok boolean, detail text)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.check IS
'Check the invariants of the session''s tenant''s box office while it sells: one row each, with what was found. A zone that is in memory is held for a moment: nobody begins to change it until those who have are done (for at most `wait`), and its counter is compared with its rows. Bookings are compared with the last of their events, seats with bookings. Reads every booking of the tenant. Errors: US012 isolation_level, US018 invalid_argument.';
