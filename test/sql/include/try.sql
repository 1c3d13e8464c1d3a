-- Run a statement and say how it ended: clients test the SQLSTATE, people read the rest.
CREATE FUNCTION pg_temp.try(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail  text;
    hint    text;
    result  text;
BEGIN
    EXECUTE statement INTO result;
    RETURN 'ok' || coalesce(': ' || result, '');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    -- (What other errors say in detail is PostgreSQL's affair, and may hold times and oids.)
    RETURN SQLSTATE || ': ' || message
        || CASE WHEN SQLSTATE LIKE 'US%' THEN coalesce(E'\n  detail: ' || nullif(detail, ''), '') ELSE '' END
        || coalesce(E'\n  hint: ' || nullif(hint, ''), '');
END
$$;
