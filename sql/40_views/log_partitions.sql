CREATE VIEW usher.log_partitions AS
    SELECT p.partition, p.from_position, p.to_position - 1 AS to_position,
           CASE WHEN c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END AS estimated_events,
           pg_catalog.pg_total_relation_size(p.partition) AS bytes,
           r.kept AS kept_categories
    FROM usher.partition_list() p
    JOIN pg_catalog.pg_class c ON c.oid = p.partition
    LEFT JOIN usher.log_removals r USING (from_position)
    ORDER BY p.from_position;
COMMENT ON VIEW usher.log_partitions IS
'Partitions of the log: first and last position, events as of the last ANALYZE, size with indexes in bytes, and what retention kept in it (null: everything).';
