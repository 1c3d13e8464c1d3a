CREATE FUNCTION boxoffice.best_seats(tenant integer, zone bigint, n integer, only_accessible boolean, may_split boolean, booking uuid)
RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    busy   text[] := '{}';
    chosen text[];
    run    text[];
    taken  text[];
    size   integer;
BEGIN
    FOR attempt IN 1 .. 200 LOOP
        chosen := boxoffice.best_run(tenant, zone, n, only_accessible, busy);
        IF chosen IS NULL AND may_split THEN
            chosen := '{}';
            size := n - 1;
            WHILE size > 0 AND cardinality(chosen) < n LOOP
                run := boxoffice.best_run(tenant, zone, least(size, n - cardinality(chosen)), only_accessible, busy || chosen);
                IF run IS NULL THEN
                    size := size - 1;
                ELSE
                    chosen := chosen || run;
                END IF;
            END LOOP;
            chosen := CASE WHEN cardinality(chosen) = n THEN chosen END;
        END IF;
        IF chosen IS NULL THEN
            EXIT;
        END IF;
        taken := boxoffice.take_seats(tenant, zone, chosen, booking);
        IF taken IS NULL THEN
            RETURN chosen;
        END IF;
        busy := busy || taken;
    END LOOP;
    -- seats that somebody else has locked may come free: an empty array
    RETURN CASE WHEN cardinality(busy) > 0 THEN '{}'::text[] END;
END
$$;
COMMENT ON FUNCTION boxoffice.best_seats IS
'Internal: choose and take n seats for a booking. null: there are none; empty: there are none now, and some are locked by transactions that may yet roll back.';
