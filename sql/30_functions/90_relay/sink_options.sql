CREATE FUNCTION usher.sink_options(sink_id integer)
RETURNS TABLE (section text, name text, value text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH options AS (
        SELECT '' AS section, o.key AS name, o.value
        FROM usher.sinks s, jsonb_each(s.config) o
        WHERE s.sink_id = sink_options.sink_id
          AND (jsonb_typeof(o.value) <> 'object' OR o.value ?| ARRAY['secret', 'file'])
        UNION ALL
        SELECT o.key, i.key, i.value
        FROM usher.sinks s, jsonb_each(s.config) o, jsonb_each(o.value) i
        WHERE s.sink_id = sink_options.sink_id
          AND jsonb_typeof(o.value) = 'object' AND NOT o.value ?| ARRAY['secret', 'file']
    )
    SELECT o.section, o.name,
           CASE WHEN jsonb_typeof(o.value) = 'array'
                THEN (SELECT string_agg(e, ',') FROM jsonb_array_elements_text(o.value) e)
                WHEN o.value ? 'secret'
                THEN (SELECT s.value FROM usher.sink_secrets s
                      WHERE s.sink_id = sink_options.sink_id AND s.name = o.value ->> 'secret')
                WHEN o.value ? 'file' THEN rtrim(pg_read_file(o.value ->> 'file'), E'\r\n')
                ELSE o.value #>> '{}'
           END
    FROM options o
    WHERE jsonb_typeof(o.value) <> 'null'
$$;
COMMENT ON FUNCTION usher.sink_options IS
'Internal, for the relay workers: the config of a sink as (section, name, value), secrets and files filled in; null where a secret does not exist.';
