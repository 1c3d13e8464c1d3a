CREATE FUNCTION usher.watch_snapshot_batch("table" regclass, partition oid, block bigint, batch int, OUT rows bigint, OUT next_partition oid, OUT next_block bigint)
RETURNS record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_watch_snapshot_step';
COMMENT ON FUNCTION usher.watch_snapshot_batch IS
'For usher.watch_snapshot: append events for about so many rows (1 to 100,000) of a watched table from a block of a partition on (0, 0: from the beginning), and lock them FOR SHARE until the transaction ends. Returns the number of events and where to go on; next_block is -1 at the end. For the table''s owner. Errors: US018, 42501, 40001 when a row moved to another partition meanwhile.';
