CREATE FUNCTION usher.partition_list(OUT partition regclass, OUT from_position bigint, OUT to_position bigint)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_partition_list';
COMMENT ON FUNCTION usher.partition_list IS
'Partitions of the log: from_position is the first position, to_position the first one behind it.';
