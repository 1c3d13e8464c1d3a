-- The box office: its tables are read by tenant, and written by its functions, which work as their owner.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relnamespace = 'boxoffice'::regnamespace AND c.relkind = 'r' LOOP
        EXECUTE pg_catalog.format('ALTER TABLE boxoffice.%I ENABLE ROW LEVEL SECURITY', t.relname);
        EXECUTE pg_catalog.format('CREATE POLICY tenant ON boxoffice.%I USING (tenant_id = (SELECT usher.current_tenant()))', t.relname);
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA boxoffice TO usher_reader, usher_gateway;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA boxoffice FROM PUBLIC;
GRANT SELECT ON boxoffice.categories, boxoffice.events, boxoffice.shows, boxoffice.zones, boxoffice.price_types, boxoffice.seats TO usher_reader;
GRANT SELECT ON boxoffice.bookings, boxoffice.booking_items TO usher_writer;
GRANT EXECUTE ON FUNCTION boxoffice.availability, boxoffice.currency_exponent TO usher_reader;
GRANT EXECUTE ON FUNCTION
    boxoffice.reserve, boxoffice.reserve_items, boxoffice.confirm, boxoffice.cancel, boxoffice.booking,
    boxoffice.create_category, boxoffice.create_event, boxoffice.publish_event, boxoffice.create_show, boxoffice.create_zone,
    boxoffice.create_price_type, boxoffice.set_capacity, boxoffice.check, boxoffice.best_available, boxoffice.begin_payment,
    boxoffice.extend, boxoffice.begin_refund, boxoffice.finish_refund, boxoffice.bookings, boxoffice.pending, boxoffice.update_event,
    boxoffice.end_event, boxoffice.cancel_event, boxoffice.cancel_show, boxoffice.move_show, boxoffice.add_seats,
    boxoffice.update_zone, boxoffice.update_price_type
    TO usher_writer;
-- The gateway says for whom it asks.
GRANT EXECUTE ON FUNCTION boxoffice.reserve_many TO usher_gateway;
