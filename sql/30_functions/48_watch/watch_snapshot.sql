CREATE PROCEDURE usher.watch_snapshot("table" regclass, batch int DEFAULT 1000)
LANGUAGE plpgsql
AS $$
DECLARE
    part oid := 0;
    first bigint := 0;
    next  record;
BEGIN
    WHILE first OPERATOR(pg_catalog.>=) 0 LOOP
        BEGIN
            next := usher.watch_snapshot_batch("table", part, first, batch);
            part := next.next_partition;
            first := next.next_row;
        EXCEPTION WHEN serialization_failure THEN
            NULL;                               -- a row moved to another partition: read it there
        END;
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE usher.watch_snapshot IS
'Append the existing rows of a watched table as schema.table.snapshot, in transactions of up to so many rows each (1 to 100,000). Others go on writing: of each row the events are in the order of its changes, so whoever applies them in their order ends with what is in the table. A row may come twice. Cannot run inside a transaction block. For the table''s owner. Errors: as usher.watch.';
