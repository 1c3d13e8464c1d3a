CREATE FUNCTION boxoffice.check_transition()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('reserved', 'payment_pending'), ('reserved', 'confirmed'), ('reserved', 'cancelled'), ('reserved', 'expired'),
        ('payment_pending', 'confirmed'), ('payment_pending', 'cancelled'), ('payment_pending', 'expired'),
        ('confirmed', 'cancelled'),
        ('cancelled', 'refund_pending'), ('refund_pending', 'refunded'), ('refund_pending', 'refund_failed'), ('refund_failed', 'refund_pending'),
        ('expired', 'confirmed'), ('expired', 'payment_orphaned'), ('cancelled', 'payment_orphaned'), ('payment_orphaned', 'refund_pending'))
    THEN
        RAISE EXCEPTION 'a booking that is % cannot become %', OLD.status, NEW.status USING ERRCODE = 'US037';
    END IF;
    IF NEW.status = 'refund_pending' AND NEW.refund_due = 0 THEN
        RAISE EXCEPTION 'nothing is due for booking %', NEW.booking_id USING ERRCODE = 'US037';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION boxoffice.check_transition IS 'Internal: the states of a booking. Error: US037 wrong_state.';
