DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relnamespace = 'boxoffice'::regnamespace AND c.relkind = 'r' LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON boxoffice.%I
            FOR EACH STATEMENT EXECUTE FUNCTION boxoffice.guard(%s)', t.relname,
            CASE WHEN t.relname IN ('events', 'shows', 'zones', 'price_types') THEN pg_catalog.quote_literal('config') ELSE '' END);
    END LOOP;
END
$$;
CREATE TRIGGER check_transition BEFORE UPDATE OF status ON boxoffice.bookings
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION boxoffice.check_transition();
