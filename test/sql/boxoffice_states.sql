-- The states of a booking: every step that is not allowed is refused. Expiry, refunds, organisers, numbered seats.
\getenv inputdir PG_ABS_SRCDIR
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION pg_temp.why(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
-- Until a booking has that status; the worker does it.
CREATE FUNCTION pg_temp.becomes(booking uuid, wanted text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s text;
BEGIN
    FOR i IN 1 .. 1000 LOOP
        SELECT status INTO s FROM boxoffice.bookings WHERE booking_id = booking;
        EXIT WHEN s = wanted;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN s;
END
$$;
SELECT boxoffice.create_event('Play', 'JPY', max_expired_holds => 2) AS event \gset
SELECT boxoffice.create_show(:event, 'Asia/Tokyo', '2031-01-01 19:00') AS show \gset
SELECT boxoffice.create_zone(:show, 'stalls', 100) AS zone \gset
SELECT boxoffice.create_price_type(:zone, 'adult', 3000) \g /dev/null
SELECT boxoffice.publish_event(:event);
CREATE FUNCTION pg_temp.free(show bigint) RETURNS bigint LANGUAGE sql AS 'SELECT sum(free) FROM boxoffice.availability($1)';

-- every pair of states, by hand, as who may do everything but that: the functions alone change bookings, and the table refuses the
-- steps that they must not take
CREATE TEMPORARY TABLE steps AS
WITH states (s) AS (VALUES ('reserved'), ('payment_pending'), ('confirmed'), ('cancelled'), ('expired'), ('refund_pending'), ('refunded'), ('refund_failed'), ('payment_orphaned'))
SELECT a.s AS before, b.s AS after FROM states a CROSS JOIN states b WHERE a.s <> b.s;
SELECT count(*) FROM steps;
BEGIN;
CREATE TEMPORARY TABLE copied (LIKE boxoffice.bookings);
CREATE TRIGGER check_transition BEFORE UPDATE OF status ON copied
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION boxoffice.check_transition();
CREATE FUNCTION pg_temp.step(before text, after text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM copied;
    INSERT INTO copied (tenant_id, quantity, booking_id, event_id, show_id, total, tax, fee, refund_due, fingerprint, created_at, updated_at, expires_at, status, currency, code, user_id)
    VALUES (1, 1, gen_random_uuid(), 1, 1, 1, 0, 0, 1, 0, now(), now(), now(), before, 'EUR', 'x', 'u');
    UPDATE copied SET status = after;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT result, count(*) FROM (SELECT pg_temp.step(before, after) AS result FROM steps) s GROUP BY result ORDER BY result;
SELECT before, string_agg(after, ' ' ORDER BY after) FROM steps WHERE pg_temp.step(before, after) = 'done' GROUP BY before ORDER BY before;
ROLLBACK;

-- a payment begins: it holds for longer, once
SELECT (boxoffice.reserve(:show, :zone, 'ann', 1)).booking_id AS ann \gset
SELECT (b).status, (b).provider_ref, (b).expires_at - (b).created_at >= '14 min' FROM boxoffice.begin_payment(:'ann', 'p-1') b;
SELECT (b).status FROM boxoffice.begin_payment(:'ann', 'p-1') b;
SELECT pg_temp.why(format('SELECT boxoffice.begin_payment(%L, ''p-2'')', :'ann')), pg_temp.why(format('SELECT boxoffice.begin_payment(%L, NULL)', :'ann')),
    pg_temp.why(format('SELECT boxoffice.extend(%L, ''1 min'')', :'ann')), pg_temp.why(format('SELECT boxoffice.begin_payment(%L, ''p-1'', ''bob'')', :'ann'));
SELECT (b).status FROM boxoffice.confirm(:'ann', 'pay-1') b;
SELECT pg_temp.why(format('SELECT boxoffice.begin_payment(%L, ''p-1'')', :'ann')), pg_temp.why(format('SELECT boxoffice.begin_refund(%L)', :'ann')),
    pg_temp.why(format('SELECT boxoffice.finish_refund(%L, true)', :'ann'));

-- longer, but not longer than boxoffice.max_hold
SELECT (boxoffice.reserve(:show, :zone, 'bob', 1)).booking_id AS bob \gset
SELECT (b).expires_at - (b).created_at FROM boxoffice.extend(:'bob', '20 min') b;
SELECT pg_temp.why(format('SELECT boxoffice.extend(%L, ''1 s'')', :'bob')), pg_temp.why(format('SELECT boxoffice.extend(%L, ''-1 min'')', :'bob')),
    pg_temp.why(format('SELECT boxoffice.extend(%L, NULL)', :'bob'));

-- money goes back
SELECT (b).status, (b).refund_due FROM boxoffice.cancel(:'ann') b;
SELECT (b).status FROM boxoffice.begin_refund(:'ann') b;
SELECT (b).status FROM boxoffice.begin_refund(:'ann') b;
SELECT (b).status, (b).refund_due FROM boxoffice.finish_refund(:'ann', false) b;
SELECT pg_temp.why(format('SELECT boxoffice.finish_refund(%L, true)', :'ann')), pg_temp.why(format('SELECT boxoffice.cancel(%L)', :'ann'));
SELECT (b).status FROM boxoffice.begin_refund(:'ann') b;
SELECT (b).status, (b).refund_due FROM boxoffice.finish_refund(:'ann', true) b;
SELECT pg_temp.why(format('SELECT boxoffice.begin_refund(%L)', :'ann'));
-- nothing was paid, nothing goes back
SELECT (b).status FROM boxoffice.cancel(:'bob') b;
SELECT pg_temp.why(format('SELECT boxoffice.begin_refund(%L)', :'bob'));
SELECT string_agg(type, ' ' ORDER BY version) FROM usher.read_stream('booking-' || :'ann');
SELECT pg_temp.free(:show);

-- reservations expire by themselves; a payment that comes later takes the same places again, or is due back
SELECT (boxoffice.reserve(:show, :zone, 'cat', 60, ttl => '1 s')).booking_id AS cat \gset
SELECT (boxoffice.reserve(:show, :zone, 'dan', 40, ttl => '1 s')).booking_id AS dan \gset
SELECT pg_temp.becomes(:'cat', 'expired'), pg_temp.becomes(:'dan', 'expired');
SELECT pg_temp.free(:show);
SELECT pg_temp.why(format('SELECT boxoffice.cancel(%L)', :'cat')), pg_temp.why(format('SELECT boxoffice.extend(%L, ''1 min'')', :'cat')),
    pg_temp.why(format('SELECT boxoffice.begin_payment(%L, ''p'')', :'cat'));
SELECT (b).status FROM boxoffice.confirm(:'cat', 'pay-2') b;
SELECT pg_temp.free(:show);
SELECT (boxoffice.reserve(:show, :zone, 'eve', 1)).booking_id AS eve \gset
SELECT (b).status, (b).refund_due FROM boxoffice.confirm(:'dan', 'pay-3') b;
SELECT (b).status FROM boxoffice.confirm(:'dan', 'pay-3') b;
SELECT pg_temp.free(:show);
SELECT (b).status FROM boxoffice.begin_refund(:'dan') b;
SELECT string_agg(type, ' ' ORDER BY version) FROM usher.read_stream('booking-' || :'cat');
-- who lets too many expire has to wait
SELECT (boxoffice.reserve(:show, :zone, 'fay', 1, ttl => '1 s')).booking_id AS fay1 \gset
SELECT (boxoffice.reserve(:show, :zone, 'fay', 1, ttl => '1 s')).booking_id AS fay2 \gset
SELECT pg_temp.becomes(:'fay1', 'expired'), pg_temp.becomes(:'fay2', 'expired');
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''fay'', 1)', :show, :zone));

-- pages of a user's bookings
SELECT count(*) FROM boxoffice.bookings('fay');
SELECT (b).booking_id = :'fay1' FROM boxoffice.bookings('fay', 'expired', max => 1) b;
SELECT (b).booking_id = :'fay2' FROM boxoffice.bookings('fay', NULL, :'fay1') b;
SELECT count(*) FROM boxoffice.pending('fay');
SELECT (b).booking_id = :'eve' FROM boxoffice.pending('eve') b;
SELECT pg_temp.why('SELECT boxoffice.bookings(''fay'', max => 0)');

-- numbered seats: by name, or the best run of a row
SELECT boxoffice.create_zone(:show, 'balcony', 0, true) AS balcony \gset
SELECT boxoffice.create_price_type(:balcony, 'adult', 5000) \g /dev/null
SELECT boxoffice.add_seats(:balcony, 'A', 1, 1, 10, ARRAY[1]), boxoffice.add_seats(:balcony, 'B', 2, 1, 10);
SELECT capacity, free FROM boxoffice.availability(:show) WHERE zone_id = :balcony;
SELECT pg_temp.why(format('SELECT boxoffice.add_seats(%s, ''A'', 1, 10, 11)', :balcony)), pg_temp.why(format('SELECT boxoffice.add_seats(%s, ''A'', 1, 1, 2)', :zone)),
    pg_temp.why(format('SELECT boxoffice.set_capacity(%s, 5)', :balcony));
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.reserve(:show, :balcony, 'gus', 2, ARRAY['B5', 'B6']) r;
SELECT sqlstate, seats FROM boxoffice.reserve_many(ARRAY[('default', 'hal', :show, ARRAY[(:balcony, NULL, 3, ARRAY['B4', 'B5', 'X9'], NULL, NULL)]::boxoffice.reserve_item[], NULL, NULL, NULL)]::boxoffice.reserve_request[]);
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''hal'', 2, ARRAY[''B4''])', :show, :balcony)), pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''hal'', 2, ARRAY[''B4'', ''B4''])', :show, :balcony));
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.best_available(:show, :balcony, 'hal', 4) r;
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.best_available(:show, :balcony, 'hal', 2) r;
SELECT (r).booking_id AS wheel, (r).items -> 0 -> 'seats' AS seats FROM boxoffice.best_available(:show, :balcony, 'ida', 1, accessible => true) r \gset
SELECT :'seats';
SELECT pg_temp.why(format('SELECT boxoffice.best_available(%s, %s, ''ida'', 1, accessible => true)', :show, :balcony));
-- four beside each other are left in no row but one; six only when they are split
SELECT string_agg(label, ' ' ORDER BY row_rank, number) FROM boxoffice.seats WHERE zone_id = :balcony AND booking_id IS NULL;
SELECT pg_temp.why(format('SELECT boxoffice.best_available(%s, %s, ''jan'', 6)', :show, :balcony));
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.best_available(:show, :balcony, 'jan', 6, split => true) r;
-- cancelled seats are free again
SELECT (b).status FROM boxoffice.cancel(:'wheel') b;
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.reserve(:show, :balcony, 'kim', 1, ARRAY['A1']) r;
SELECT free = (SELECT count(*) FROM boxoffice.seats WHERE zone_id = :balcony AND booking_id IS NULL) FROM boxoffice.availability(:show) WHERE zone_id = :balcony;

-- organisers
SELECT boxoffice.update_event(:event, title => 'Play in two acts', user_limit => 50);
SELECT title, user_limit, currency FROM boxoffice.events WHERE event_id = :event;
-- what is null stays; what has no value from now on is named
SELECT boxoffice.update_event(:event, sale_until => '2030-12-31 00:00+00', max_expired_holds => 7, clear => '{user_limit}');
SELECT user_limit, max_expired_holds, sale_until AT TIME ZONE 'UTC', data - 'event' - 'sale_until' FROM boxoffice.events, usher.last_event('event-' || :event) WHERE event_id = :event;
SELECT boxoffice.update_event(:event, user_limit => 50, clear => '{sale_until,max_expired_holds,sale_from,category,user_limit}');
SELECT user_limit, max_expired_holds, sale_until, data - 'event' FROM boxoffice.events, usher.last_event('event-' || :event) WHERE event_id = :event;
SELECT pg_temp.why(format('SELECT boxoffice.update_event(%s, clear => %L)', :event, '{title}')), pg_temp.why(format('SELECT boxoffice.update_event(%s, clear => %L)', :event, '{NULL}')),
    pg_temp.why(format('SELECT boxoffice.update_event(%s, category => 99999999)', :event)), pg_temp.why(format('SELECT boxoffice.update_event(%s, user_limit => 0)', :event));
SELECT boxoffice.move_show(:show, '2031-02-01 20:00', 'Europe/Paris');
SELECT time_zone, starts_local FROM boxoffice.shows WHERE show_id = :show;
SELECT pg_temp.why(format('SELECT boxoffice.move_show(%s, ''2031-02-01'', ''Mars/Olympus'')', :show)), pg_temp.why('SELECT boxoffice.create_event(''x'', ''EURO'')'),
    pg_temp.why('SELECT boxoffice.create_event(''x'', ''XXX'')'), pg_temp.why('SELECT boxoffice.cancel_event(0)');
SELECT type, data - 'show' - 'event' FROM usher.last_event('show-' || :show);
-- a show in the past is not sold
SELECT boxoffice.move_show(:show, '2001-02-01 20:00');
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''lea'', 1)', :show, :zone));
SELECT boxoffice.move_show(:show, '2031-02-01 20:00');
-- a cancelled event: nothing is sold at once, its bookings follow
SELECT count(*) > 0 FROM boxoffice.bookings WHERE show_id = :show AND status IN ('reserved', 'confirmed');
SELECT boxoffice.cancel_event(:event, 'flood');
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''lea'', 1)', :show, :zone));
SELECT pg_temp.becomes(:'eve', 'cancelled'), pg_temp.becomes(:'cat', 'cancelled');
SELECT (b).refund_due = (b).total FROM boxoffice.booking(:'cat') b;
DO $$ BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM boxoffice.shows WHERE NOT settled);
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;
SELECT count(*) FROM boxoffice.bookings WHERE show_id = :show AND status IN ('reserved', 'payment_pending', 'confirmed');
SELECT free = capacity FROM boxoffice.availability(:show);
SELECT pg_temp.why(format('SELECT boxoffice.publish_event(%s)', :event)), pg_temp.why(format('SELECT boxoffice.update_event(%s, ''x'')', :event)),
    pg_temp.why(format('SELECT boxoffice.end_event(%s)', :event)), pg_temp.why(format('SELECT boxoffice.move_show(%s, ''2032-01-01'')', :show));
-- money that comes for it now is due back
SELECT (b).status FROM boxoffice.confirm(:'eve', 'pay-9') b;
SELECT * FROM boxoffice.check() ORDER BY 1;
-- what C has written of expired and cancelled bookings is what PostgreSQL would have
SELECT array_agg(DISTINCT type), bool_and(data::text::jsonb = data), bool_and(pg_column_size(data || '{}') = pg_column_size(data::text::jsonb)),
    bool_and((SELECT jsonb_object_agg(k, data -> k) FROM jsonb_object_keys(data) k) = data)
FROM usher.log WHERE type IN ('booking.expired', 'booking.cancelled');

-- tenants do not see each other
SELECT usher.create_tenant('box-other') \g /dev/null
SET usher.tenant = 'box-other';
SELECT pg_temp.why(format('SELECT boxoffice.booking(%L)', :'eve')), pg_temp.why(format('SELECT boxoffice.cancel(%L)', :'eve')),
    pg_temp.why(format('SELECT boxoffice.availability(%s)', :show)), pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''lea'', 1)', :show, :zone)),
    pg_temp.why(format('SELECT boxoffice.set_capacity(%s, 5)', :zone)), pg_temp.why(format('SELECT boxoffice.cancel_event(%s)', :event));
SELECT count(*) FROM boxoffice.bookings('eve');
CREATE ROLE box_seller LOGIN;
GRANT usher_writer TO box_seller;
SELECT usher.grant_tenant('box-other', 'box_seller');
SET ROLE box_seller;
SELECT count(*) FROM boxoffice.bookings;
SELECT boxoffice.create_event('Theirs', 'EUR') > 0;
RESET usher.tenant;
SELECT pg_temp.why(format('SELECT boxoffice.booking(%L)', :'eve')), pg_temp.why('SELECT boxoffice.settle_cancelled(1)'), pg_temp.why('SELECT boxoffice.do_cancel(1, NULL, NULL, NULL, NULL)'),
    pg_temp.why('SELECT boxoffice.reserve_many(NULL)'), pg_temp.why('UPDATE boxoffice.events SET title = ''x''');
SELECT title FROM boxoffice.events;
RESET ROLE;
SELECT usher.revoke_tenant('box-other', 'box_seller');
DROP ROLE box_seller;
