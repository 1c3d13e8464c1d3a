CREATE FUNCTION usher.index_partition(partition regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The log itself has none: ATTACH would make them anew when a dump is restored, before the dump makes its own.
    EXECUTE format('CREATE UNIQUE INDEX ON %s (position)', partition);
    -- Published events have no stream. No two entries are alike, so there is nothing to deduplicate. Where a category
    -- goes on is in the middle of its index: entries of this size split behind it, wider ones would leave half-full pages.
    EXECUTE format('CREATE INDEX ON %s (tenant_id, stream, version) WITH (deduplicate_items = off) WHERE stream IS NOT NULL', partition);
    EXECUTE format('CREATE INDEX ON %s (tenant_id, category_hash, position) WITH (deduplicate_items = off) WHERE category IS NOT NULL', partition);
    EXECUTE format('CREATE INDEX ON %s (tenant_id, id) WHERE (flags & 4) <> 0', partition);
END
$$;
COMMENT ON FUNCTION usher.index_partition IS
'Internal: the indexes that every partition of the log has.';
