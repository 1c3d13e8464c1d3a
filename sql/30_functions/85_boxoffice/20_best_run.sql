CREATE FUNCTION boxoffice.best_run(tenant integer, zone bigint, n integer, only_accessible boolean, without text[])
RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH open AS (
        SELECT s.row_rank, s.number::bigint AS number, s.number - row_number() OVER (PARTITION BY s.row_rank ORDER BY s.number) AS island
        FROM boxoffice.seats s
        WHERE s.tenant_id = tenant AND s.zone_id = zone AND s.booking_id IS NULL AND (s.accessible OR NOT only_accessible) AND s.label <> ALL (without)
    ), islands AS (
        SELECT o.row_rank, min(o.number) AS first, max(o.number) AS last FROM open o GROUP BY o.row_rank, o.island HAVING count(*) >= n
    ), rows AS (
        SELECT s.row_rank, (min(s.number)::bigint + max(s.number)) / 2.0 AS centre
        FROM boxoffice.seats s WHERE s.tenant_id = tenant AND s.zone_id = zone GROUP BY s.row_rank
    ), best AS (
        SELECT i.row_rank, c AS first
        FROM islands i JOIN rows r ON r.row_rank = i.row_rank CROSS JOIN LATERAL generate_series(i.first, i.last - n + 1) c
        ORDER BY i.row_rank, (c - i.first = 1)::integer + (i.last - (c + n - 1) = 1)::integer, abs(c + (n - 1) / 2.0 - r.centre), c
        LIMIT 1
    )
    SELECT array_agg(s.label ORDER BY s.number)
    FROM best b JOIN boxoffice.seats s ON s.tenant_id = tenant AND s.zone_id = zone AND s.row_rank = b.row_rank AND s.number BETWEEN b.first AND b.first + n - 1
$$;
COMMENT ON FUNCTION boxoffice.best_run IS
'Internal: n free seats beside each other: in the row of the lowest rank that has such a run; there, one that leaves no single seat between it and the next taken one if possible; of these the nearest to the row''s centre. null: there is none.';
