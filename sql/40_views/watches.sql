CREATE VIEW usher.watches WITH (security_invoker = true) AS
    SELECT w.tgrelid::regclass AS "table", w.operations, c.key, c.columns, w.enabled, w.triggers
    FROM (
        SELECT t.tgrelid, string_to_array(min(a.arguments[1]), ',') AS operations,
               min(a.arguments[2])::int AS nkey, min(a.arguments[3]) AS ncolumns,
               -- (the columns are named in the WHEN clause, which a TRUNCATE cannot have)
               min(t.oid) FILTER (WHERE t.tgtype & 1 = 1) AS row_trigger,
               bool_and(t.tgenabled <> 'D') AS enabled,
               array_agg(pg_get_triggerdef(t.oid) ORDER BY t.tgname) AS triggers
        FROM pg_trigger t
        CROSS JOIN LATERAL (
            SELECT regexp_match(encode(t.tgargs, 'escape'), '^([a-z,]+)\\000(\d+)\\000(\d+|all)\\000$') AS arguments) a
        WHERE t.tgfoid = 'usher.watch_event()'::regprocedure AND t.tgparentid = 0 AND a.arguments IS NOT NULL
        GROUP BY t.tgrelid) w
    LEFT JOIN LATERAL (
        SELECT CASE WHEN w.nkey > 0 THEN n.key END AS key, CASE WHEN w.ncolumns <> 'all' THEN n.columns END AS columns
        FROM usher.watched_columns(w.row_trigger, w.nkey, CASE WHEN w.ncolumns = 'all' THEN 0 ELSE w.ncolumns::int END) n
        WHERE w.row_trigger IS NOT NULL) c ON true;
COMMENT ON VIEW usher.watches IS
'One row for each watched table: its operations; the columns of its key (null: the primary key) and those that are shown (null: all), as they are called now; whether all of its triggers are enabled; their definitions, in whose WHEN clause the condition stands.';
