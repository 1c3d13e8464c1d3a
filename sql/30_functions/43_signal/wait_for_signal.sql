CREATE PROCEDURE usher.wait_for_signal(after bigint, timeout interval, INOUT found bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_wait_for_signal';
COMMENT ON PROCEDURE usher.wait_for_signal IS
'Wait until there is a signal of the session''s tenant behind a number, or the timeout is over; found is the number of the first one, null when there is none. Holds no snapshot while it waits. Cannot run inside a transaction block (2D000). Errors: US018.';
