CREATE PROCEDURE usher.wait_for(after bigint, timeout interval, pattern text, INOUT stable bigint)
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_wait_for';
COMMENT ON PROCEDURE usher.wait_for IS
'As usher.wait for any timeout: holds no snapshot while it waits (backend_xmin is null) and notices a client that went away. Cannot run inside a transaction block (2D000). CALL usher.wait_for(42, ''1 min'', ''order.*'', NULL);';
