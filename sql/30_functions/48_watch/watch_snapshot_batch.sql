CREATE FUNCTION usher.watch_snapshot_batch("table" regclass, partition oid, first_row bigint, batch int, OUT rows bigint, OUT next_partition oid, OUT next_row bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_watch_snapshot_step';
COMMENT ON FUNCTION usher.watch_snapshot_batch IS
'For usher.watch_snapshot: append events of up to so many rows (1 to 100,000) of a watched table from a row of a partition on (0, 0: from the beginning), and lock them FOR SHARE until the transaction ends. Waits for a locked row only when it is the first; ends the batch at another. Returns the number of events and where to go on; next_row (block * 65536 + offset) is -1 at the end. For the table''s owner. Errors: US018, 42501, 40001 when a row moved to another partition meanwhile.';
