-- Idempotency keys, in a ring of ten tables: a row lies in the table of the day (UTC) on which it expires, its slot is
-- that day's number since 1970 modulo 10. A key lives for at most 7 days, so eight tables can hold living ones; the
-- other two are emptied by TRUNCATE. Nothing is updated, nothing is deleted row by row, and no table has to be made.
CREATE TABLE usher.idempotency_keys (
    tenant_id   integer NOT NULL,
    slot        smallint NOT NULL,
    done        boolean NOT NULL,
    key_hash    bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    response    jsonb
) PARTITION BY LIST (slot);
COMMENT ON TABLE usher.idempotency_keys IS
'Requests that usher.once has seen, until they expire; the newest row of a key counts. done: with their response; else a request that was begun, and whose transaction committed without one. key_hash: 64 bits of a hash over tenant and key.';

DO $$
DECLARE
    t text;
BEGIN
    FOR slot IN 0 .. 9 LOOP
        t := 'idempotency_keys_' || slot;
        EXECUTE pg_catalog.format('CREATE TABLE usher.%I PARTITION OF usher.idempotency_keys FOR VALUES IN (%s)', t, slot);
        EXECUTE pg_catalog.format('CREATE INDEX %I ON usher.%I (tenant_id, key_hash, created_at)', t || '_key', t);
        EXECUTE pg_catalog.format('COMMENT ON TABLE usher.%I IS %L', t, 'Idempotency keys that expire on days whose number ends in ' || slot);
    END LOOP;
END
$$;
