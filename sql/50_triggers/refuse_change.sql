CREATE FUNCTION usher.refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of the log is refused', TG_OP
        USING ERRCODE = '0A000',
              HINT = 'Events are never changed. Append a correction, or remove old partitions with usher.drop_partitions_before.';
END
$$;
COMMENT ON FUNCTION usher.refuse_change IS 'Internal: not even the owner changes the log by mistake. Error: 0A000.';

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON usher.log
    FOR EACH STATEMENT EXECUTE FUNCTION usher.refuse_change();
