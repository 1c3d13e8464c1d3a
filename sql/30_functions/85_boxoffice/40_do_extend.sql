CREATE FUNCTION boxoffice.do_extend(tenant integer, booking uuid, more interval, user_id text)
RETURNS boxoffice.booking
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b boxoffice.bookings;
BEGIN
    b := boxoffice.locked_booking(tenant, booking, user_id);
    IF b.status <> 'reserved' THEN
        RAISE EXCEPTION 'booking % is %', booking, b.status USING ERRCODE = CASE b.status WHEN 'expired' THEN 'US036' ELSE 'US037' END;
    END IF;
    IF more IS NULL OR more <= interval '0' OR b.expires_at + more > b.created_at + current_setting('boxoffice.max_hold')::interval THEN
        RAISE EXCEPTION 'booking % cannot be held for % more', booking, coalesce(more::text, 'null')
            USING ERRCODE = 'US018', DETAIL = format('It can be held until %s.', b.created_at + current_setting('boxoffice.max_hold')::interval);
    END IF;
    b.expires_at := b.expires_at + more;
    RETURN boxoffice.record(b, 'booking.extended', jsonb_build_object('expires_at', b.expires_at));
END
$$;
COMMENT ON FUNCTION boxoffice.do_extend IS 'Internal: boxoffice.extend, for a tenant.';
