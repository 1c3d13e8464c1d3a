-- The box office: a zone is sold, place by place, and what is refused says why.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on

SELECT boxoffice.create_event('Concert', 'EUR', user_limit => 6) AS event \gset
SELECT boxoffice.create_show(:event, 'Europe/Berlin', '2030-05-01 20:00') AS show \gset
SELECT boxoffice.create_zone(:show, 'floor', 10) AS zone \gset
SELECT boxoffice.create_price_type(:zone, 'adult', 2550, 1900, 250) AS adult \gset
SELECT boxoffice.create_price_type(:zone, 'reduced', 1000, ordinal => 1) AS reduced \gset
CREATE FUNCTION pg_temp.free(show bigint) RETURNS bigint LANGUAGE sql AS 'SELECT sum(free) FROM boxoffice.availability($1)';
CREATE FUNCTION pg_temp.why(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || coalesce(nullif(' ' || detail, ' '), '');
END
$$;
SELECT set_config('box.show', :'show', false), set_config('box.zone', :'zone', false) \g /dev/null
CREATE FUNCTION pg_temp.reserve(user_id text, n integer, key text DEFAULT NULL) RETURNS text LANGUAGE sql AS
$$SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, %L, %L, idempotency_key => %L)', current_setting('box.show'), current_setting('box.zone'), user_id, n, key))$$;

CREATE FUNCTION pg_temp.items(zone bigint, n integer) RETURNS boxoffice.reserve_item[] LANGUAGE sql AS 'SELECT ARRAY[($1, NULL, $2, NULL, NULL, NULL)]::boxoffice.reserve_item[]';

-- not before it is published
SELECT pg_temp.reserve('ann', 1);
SELECT boxoffice.publish_event(:event);
SELECT pg_temp.why(format('SELECT boxoffice.publish_event(%s)', :event));

-- tax and fee are rounded half to even, once an item: 5100 * 2.5 % = 127.5
SELECT (r).booking_id AS ann, (r).status, (r).total, (r).tax, (r).fee, length((r).code), (r).expires_at - (r).created_at FROM boxoffice.reserve(:show, :zone, 'ann', 2, idempotency_key => 'k1') r \gset
SELECT :'status', :total, :tax, :fee, :length;
SELECT pg_temp.free(:show);

-- the same key: the same booking; another request with it is refused
SELECT (r).booking_id = :'ann' FROM boxoffice.reserve(:show, :zone, 'ann', 2, idempotency_key => 'k1') r;
SELECT pg_temp.reserve('ann', 3, 'k1');
SELECT pg_temp.free(:show);

-- the user's limit, over what is held and sold
SELECT pg_temp.reserve('ann', 5);
SELECT pg_temp.reserve('ann', 4);
SELECT pg_temp.reserve('ann', 1);

-- sold out, with what is left
SELECT pg_temp.reserve('bob', 5);
SELECT pg_temp.reserve('bob', 4);
SELECT pg_temp.reserve('cat', 1);
SELECT pg_temp.free(:show);

-- arguments
SELECT pg_temp.reserve('cat', 0), pg_temp.reserve('cat', -1), pg_temp.reserve('cat', 1001), pg_temp.reserve('', 1), pg_temp.reserve(NULL, 1), pg_temp.reserve('cat', NULL);
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, 0, ''cat'', 1)', :show)), pg_temp.why(format('SELECT boxoffice.reserve(0, %s, ''cat'', 1)', :zone));
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''cat'', 1, ttl => ''1 hour'')', :show, :zone)),
    pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''cat'', 1, ttl => ''-1 s'')', :show, :zone));
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''cat'', 1, price_type => 0)', :show, :zone));
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''cat'', 1, ARRAY[''A1''])', :show, :zone));

-- paid: idempotent by the payment
SELECT (c).status, (c).payment_ref FROM boxoffice.confirm(:'ann', 'pay-1') c;
SELECT (c).status, (c).payment_ref FROM boxoffice.confirm(:'ann', 'pay-1') c;
SELECT pg_temp.why(format('SELECT boxoffice.confirm(%L, ''pay-2'')', :'ann'));
SELECT pg_temp.why('SELECT boxoffice.confirm(gen_random_uuid(), ''pay-2'')'), pg_temp.why(format('SELECT boxoffice.confirm(%L, '''')', :'ann'));
-- somebody else's is not found
SELECT pg_temp.why(format('SELECT boxoffice.confirm(%L, ''pay-1'', ''bob'')', :'ann')), pg_temp.why(format('SELECT boxoffice.cancel(%L, user_id => ''bob'')', :'ann')),
    pg_temp.why(format('SELECT boxoffice.booking(%L, ''bob'')', :'ann'));
SELECT (b).status FROM boxoffice.booking(:'ann', 'ann') b;

-- cancelled: the places are free once it has committed, and the money is due
BEGIN;
SELECT (c).status, (c).refund_due = (c).total FROM boxoffice.cancel(:'ann', 'ill') c;
SELECT pg_temp.free(:show);
COMMIT;
SELECT pg_temp.free(:show);
SELECT (c).status, (c).reason FROM boxoffice.cancel(:'ann', 'again') c;
SELECT pg_temp.free(:show);
-- a second payment of a booking that has one is refused, and a first one of a cancelled booking is not dropped
SELECT pg_temp.why(format('SELECT boxoffice.confirm(%L, ''pay-9'')', :'ann'));
SELECT booking_id AS bob FROM boxoffice.bookings WHERE user_id = 'bob' AND show_id = :show \gset
SELECT (c).status FROM boxoffice.cancel(:'bob') c;
SELECT (c).status, (c).refund_due = (c).total FROM boxoffice.confirm(:'bob', 'pay-3') c;
SELECT pg_temp.free(:show);

-- several items, all or nothing; and some of them cancelled
SELECT boxoffice.create_zone(:show, 'balcony', 2) AS balcony \gset
SELECT boxoffice.create_price_type(:balcony, 'adult', 5000) \g /dev/null
SELECT pg_temp.why(format('SELECT boxoffice.reserve_items(%s, ''dan'', ARRAY[(%s, NULL, 2, NULL, NULL, NULL), (%s, NULL, 3, NULL, NULL, NULL)]::boxoffice.reserve_item[])', :show, :zone, :balcony));
SELECT pg_temp.free(:show);
SELECT (r).booking_id AS dan, (r).total, (r).quantity FROM boxoffice.reserve_items(:show, 'dan', ARRAY[(:zone, :reduced, 2, NULL, NULL, NULL), (:balcony, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[]) r \gset
SELECT :total, :quantity, pg_temp.free(:show);
SELECT (c).status, (c).total, (c).quantity, jsonb_path_query_array((c).items, '$[*].cancelled') FROM boxoffice.cancel(:'dan', items => ARRAY[1]) c;
SELECT pg_temp.free(:show);
SELECT pg_temp.why(format('SELECT boxoffice.cancel(%L, items => ARRAY[1])', :'dan')), pg_temp.why(format('SELECT boxoffice.cancel(%L, items => ARRAY[7])', :'dan'));
SELECT (c).status, (c).total FROM boxoffice.cancel(:'dan', items => ARRAY[2]) c;
SELECT pg_temp.free(:show);

-- savepoints and rollbacks put back what was taken
BEGIN;
SELECT pg_temp.reserve('eve', 1);
SAVEPOINT a;
SELECT pg_temp.reserve('eve', 2);
SAVEPOINT b;
SELECT pg_temp.reserve('eve', 1);
RELEASE b;
SELECT pg_temp.free(:show);
ROLLBACK TO a;
SELECT pg_temp.free(:show);
-- the limit counts what this transaction has
SELECT pg_temp.reserve('eve', 6), pg_temp.reserve('eve', 3);
SELECT pg_temp.free(:show);
ROLLBACK;
SELECT pg_temp.free(:show);
BEGIN;
SELECT (boxoffice.cancel((boxoffice.reserve(:show, :zone, 'eve', 2)).booking_id)).status;
SELECT pg_temp.free(:show);
COMMIT;
SELECT pg_temp.free(:show);
BEGIN;
SELECT pg_temp.reserve('eve', 1);
PREPARE TRANSACTION 'box';
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT boxoffice.reserve(:show, :zone, 'eve', 1);
ROLLBACK;
SELECT pg_temp.free(:show);

-- the capacity, while it is sold
SELECT (r).booking_id AS fay FROM boxoffice.reserve(:show, :zone, 'fay', 6) r \gset
SELECT boxoffice.set_capacity(:zone, 20);
SELECT pg_temp.free(:show);
SELECT pg_temp.why(format('SELECT boxoffice.set_capacity(%s, 1)', :zone));
BEGIN;
SELECT boxoffice.set_capacity(:zone, 10);
SELECT pg_temp.free(:show);
ROLLBACK;
SELECT pg_temp.free(:show);
SELECT boxoffice.set_capacity(:zone, 11);
SELECT pg_temp.free(:show);

-- many at a time, each with its own outcome; the second knows of the first
SELECT (r).element, (r).sqlstate, (r).detail, (r).remaining, (r).retryable, (r).replayed, (r).booking ->> 'status'
FROM boxoffice.reserve_many(ARRAY[
    ('default', 'gus', :show, pg_temp.items(:balcony, 1), 'a', NULL, NULL),
    ('default', 'gus', :show, pg_temp.items(:balcony, 6), 'b', NULL, NULL),
    ('default', 'gus', :show, pg_temp.items(:balcony, 1), 'a', NULL, NULL),
    ('default', 'gus', :show, pg_temp.items(:balcony, 2), 'a', NULL, NULL),
    ('default', 'hal', :show, pg_temp.items(:balcony, 2), NULL, NULL, NULL),
    ('default', 'hal', :show, pg_temp.items(:balcony, 1), NULL, NULL, NULL),
    ('nobody', 'hal', :show, pg_temp.items(:balcony, 1), NULL, NULL, NULL),
    ('default', NULL, :show, pg_temp.items(:balcony, 1), NULL, NULL, NULL),
    ('default', 'hal', :show, NULL, NULL, NULL, NULL),
    ('default', 'hal', NULL, pg_temp.items(:balcony, 1), NULL, NULL, NULL),
    NULL]::boxoffice.reserve_request[]) r;
SELECT (r).element, (r).sqlstate, (r).replayed, (r).booking ->> 'status'
FROM boxoffice.reserve_many(ARRAY[('default', 'gus', :show, pg_temp.items(:balcony, 1), 'a', NULL, NULL)]::boxoffice.reserve_request[]) r;
SELECT pg_temp.free(:show);

-- every event of a booking, in its commit
SELECT version, type, data ->> 'status' FROM usher.read_stream('booking-' || :'ann') ORDER BY version;
SELECT version, type, data ->> 'status', data ->> 'total' FROM usher.read_stream('booking-' || :'dan') ORDER BY version;

-- names and prices, while it is sold
SELECT boxoffice.update_zone(:balcony, 'gallery');
SELECT boxoffice.update_price_type(:reduced, unit_price => 900);
SELECT (r).total FROM boxoffice.reserve_items(:show, 'ida', ARRAY[(:zone, :reduced, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[]) r;
SELECT boxoffice.update_price_type(:reduced, active => false);
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''ida'', 1, price_type => %s)', :show, :zone, :reduced));
SELECT pg_temp.why('SELECT boxoffice.update_price_type(0)'), pg_temp.why('SELECT boxoffice.update_zone(0, ''x'')');

-- seats that are taken are named
SELECT boxoffice.create_zone(:show, 'stalls', 0, true) AS stalls \gset
SELECT boxoffice.create_price_type(:stalls, 'adult', 5000) \g /dev/null
SELECT boxoffice.add_seats(:stalls, 'A', 1, 1, 5);
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.reserve(:show, :stalls, 'jan', 2, ARRAY['A2', 'A3']) r;
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''kim'', 3, ARRAY[''X9'', ''A4'', ''A2''])', :show, :stalls));

-- what C has written is what PostgreSQL would have
SELECT count(*) > 0, bool_and(data::text::jsonb = data), bool_and(pg_column_size(data || '{}') = pg_column_size(data::text::jsonb)),
    bool_and((SELECT jsonb_object_agg(k, data -> k) FROM jsonb_object_keys(data) k) = data)
FROM usher.log WHERE type = 'booking.reserved';

-- nobody changes the tables by hand, not even their owner
SELECT pg_temp.why(s) FROM unnest(ARRAY['UPDATE boxoffice.bookings SET status = ''refunded''', 'DELETE FROM boxoffice.bookings', 'TRUNCATE boxoffice.bookings',
    'INSERT INTO boxoffice.zones (tenant_id, show_id, name, capacity) VALUES (1, 1, ''z'', 1)', 'UPDATE boxoffice.zones SET capacity = 1',
    'DELETE FROM boxoffice.seats', 'SELECT boxoffice.zone_give(1, 1, 1)', 'SELECT boxoffice.emit(1, ''s'', ''t'', ''{}'')']) s;
SELECT * FROM boxoffice.check() ORDER BY 1;
