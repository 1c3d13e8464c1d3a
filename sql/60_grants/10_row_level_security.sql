-- Every table has row-level security, for every role but the owner. Tables that belong to no tenant are for
-- usher_admin, whom a policy lets through; the others show the session's tenant.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.relname,
               EXISTS (SELECT FROM pg_catalog.pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull) AS has_tenant
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'usher'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE usher.%I ENABLE ROW LEVEL SECURITY', t.relname);
        IF t.relname IN ('tenants', 'tenant_grants') THEN
            EXECUTE pg_catalog.format('CREATE POLICY administration ON usher.%I TO usher_admin USING (true)', t.relname);
        ELSIF t.has_tenant THEN
            EXECUTE pg_catalog.format(
                'CREATE POLICY tenant ON usher.%I USING (tenant_id = (SELECT usher.current_tenant()))', t.relname);
        ELSE
            EXECUTE pg_catalog.format('CREATE POLICY administration ON usher.%I TO usher_admin USING (true)', t.relname);
        END IF;
    END LOOP;
END
$$;
CREATE POLICY tenant ON usher.tenants FOR SELECT USING (tenant_id = (SELECT usher.current_tenant()));
-- What a subscription had replayed is its tenant's to see; what a sink has not delivered is not a writer's to delete.
CREATE POLICY tenant ON usher.replays FOR SELECT
    USING (subscription_id IN (SELECT s.subscription_id FROM usher.subscriptions s WHERE s.tenant_id = (SELECT usher.current_tenant())));
CREATE POLICY subscription ON usher.dead_letters AS RESTRICTIVE FOR DELETE
    USING (subscription_id IS NOT NULL AND tenant_id = (SELECT usher.current_tenant()));
-- Whoever has a handler is given the events: it is of a subscription of the same tenant.
CREATE POLICY subscription ON usher.handlers AS RESTRICTIVE FOR INSERT
    WITH CHECK (EXISTS (SELECT FROM usher.subscriptions s WHERE s.subscription_id = handlers.subscription_id AND s.tenant_id = handlers.tenant_id));
