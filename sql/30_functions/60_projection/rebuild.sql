CREATE PROCEDURE usher.rebuild(name text)
LANGUAGE plpgsql
AS $$
DECLARE
    projection usher.projections;
    stable     bigint;
    reached    bigint;
BEGIN
    SELECT p.* INTO projection FROM usher.projections p
    WHERE p.tenant_id OPERATOR(pg_catalog.=) usher.current_tenant() AND p.name OPERATOR(pg_catalog.=) rebuild.name
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'projection "%" does not exist', rebuild.name USING ERRCODE = 'US017';
    END IF;
    IF projection.reset IS NULL THEN
        RAISE EXCEPTION 'projection "%" has no reset function', rebuild.name
            USING ERRCODE = 'US018', HINT = 'Give usher.project a function that empties the projection.';
    END IF;

    -- New appends leave the projection out; then those that did not have ended.
    UPDATE usher.projections p SET state = 'rebuilding', position = 0
    WHERE p.projection_id OPERATOR(pg_catalog.=) projection.projection_id;
    COMMIT;
    PERFORM usher.projection_barrier(projection.projection_id, false);
    PERFORM usher.projection_reset(projection.projection_id);
    reached := usher.oldest_position() OPERATOR(pg_catalog.-) 1;
    COMMIT;

    -- Everything that is stable, in batches of their own; each batch and how far it got commit together.
    LOOP
        stable := usher.stable_position();
        EXIT WHEN stable OPERATOR(pg_catalog.-) reached OPERATOR(pg_catalog.<) 1000;
        reached := usher.projection_call(projection.projection_id, reached, stable, 1000);
        UPDATE usher.projections p SET position = reached
        WHERE p.projection_id OPERATOR(pg_catalog.=) projection.projection_id;
        COMMIT;
    END LOOP;

    -- The last batch: appends that match wait until it has committed.
    PERFORM usher.projection_barrier(projection.projection_id, true);
    stable := usher.committed_position();
    WHILE reached OPERATOR(pg_catalog.<) stable LOOP
        reached := usher.projection_call(projection.projection_id, reached, stable, 1000);
    END LOOP;
    UPDATE usher.projections p SET state = 'live', position = reached
    WHERE p.projection_id OPERATOR(pg_catalog.=) projection.projection_id;
    COMMIT;
END
$$;
COMMENT ON PROCEDURE usher.rebuild IS
'Empty a projection with its reset function and replay the log into it, in transactions of 1,000 events. Appends go on meanwhile without running it; only during the last batch do those that match wait. When it is interrupted, call it again: until then the projection is off (state rebuilding). Cannot run inside a transaction block. Errors: US017 unknown_projection, US018 without a reset function.';
