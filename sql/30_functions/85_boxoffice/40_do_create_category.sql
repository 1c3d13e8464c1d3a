CREATE FUNCTION boxoffice.do_create_category(tenant integer, slug text, name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO boxoffice.categories (tenant_id, slug, name) VALUES (tenant, slug, name) RETURNING category_id INTO id;
    RETURN id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_create_category IS 'Internal: boxoffice.create_category, for a tenant.';
