CREATE FUNCTION usher.gateway_box_change(tenant_name text, user_id text, owner text, booking uuid, action text, body jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET usher.tenant = 'default'
SET usher.actor = ''
AS $$
BEGIN
    PERFORM usher.gateway_become(tenant_name, user_id);
    IF owner IS NOT NULL AND action IN ('begin-refund', 'finish-refund') THEN
        RAISE EXCEPTION 'refunds are for the box office' USING ERRCODE = '42501';
    END IF;
    CASE action
        WHEN 'confirm' THEN
            IF EXISTS (SELECT FROM boxoffice.bookings AS b WHERE b.tenant_id = usher.gateway_tenant(tenant_name)
                       AND b.booking_id = gateway_box_change.booking AND b.user_id = owner AND b.total > 0) THEN
                RAISE EXCEPTION 'who paid is for the box office to say' USING ERRCODE = '42501';
            END IF;
            PERFORM boxoffice.confirm(booking, body ->> 'payment_ref', owner);
        WHEN 'begin-payment' THEN PERFORM boxoffice.begin_payment(booking, body ->> 'provider_ref', owner);
        WHEN 'extend' THEN PERFORM boxoffice.extend(booking, make_interval(secs => (body ->> 'seconds')::integer), owner);
        WHEN 'cancel' THEN PERFORM boxoffice.cancel(booking, body ->> 'reason',
            CASE WHEN jsonb_typeof(body -> 'items') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(body -> 'items')::integer) END, owner);
        WHEN 'begin-refund' THEN PERFORM boxoffice.begin_refund(booking);
        WHEN 'finish-refund' THEN PERFORM boxoffice.finish_refund(booking, (body ->> 'succeeded')::boolean);
    END CASE;
    RETURN usher.box_booking_json(usher.gateway_tenant(tenant_name), booking);
END
$$;
COMMENT ON FUNCTION usher.gateway_box_change IS
'boxoffice.confirm, begin_payment, extend, cancel, begin_refund or finish_refund of a booking, by the members of body; the booking as JSON. owner: whose it must be; null: anybody''s. An owner confirms only what costs nothing, and refunds nothing. Errors: theirs, US010 unknown_tenant, 42501. For usher_gateway.';
