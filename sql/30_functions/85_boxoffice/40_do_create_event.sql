CREATE FUNCTION boxoffice.do_create_event(tenant integer, title text, currency text, category bigint, description text, venue text, organiser text, user_limit integer, sale_from timestamptz, sale_until timestamptz, max_expired_holds integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id bigint;
BEGIN
    PERFORM boxoffice.currency_exponent(currency);
    IF category IS NOT NULL AND NOT EXISTS (SELECT FROM boxoffice.categories c WHERE c.tenant_id = tenant AND c.category_id = category) THEN
        RAISE EXCEPTION 'there is no category %', category USING ERRCODE = 'US018';
    END IF;
    INSERT INTO boxoffice.events (tenant_id, category_id, title, description, venue, organiser, currency, user_limit, max_expired_holds, sale_from, sale_until)
    VALUES (tenant, category, title, coalesce(description, ''), coalesce(venue, ''), coalesce(organiser, ''), currency, user_limit, max_expired_holds, sale_from, sale_until)
    RETURNING event_id INTO id;
    PERFORM boxoffice.emit(tenant, 'event-' || id, 'event.created', jsonb_build_object('event', id, 'title', title, 'currency', currency));
    RETURN id;
END
$$;
COMMENT ON FUNCTION boxoffice.do_create_event IS 'Internal: boxoffice.create_event, for a tenant.';
