-- The box office at its edges: the ends of numbers and times, nulls, what is too long; and a sale whose extension is dropped and made anew.
\pset format unaligned
\pset tuples_only on
CREATE DATABASE regress_usher_edges;
\c regress_usher_edges
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.why(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE FUNCTION pg_temp.show(capacity bigint, price bigint DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    event bigint := boxoffice.create_event('Edge', 'EUR', max_expired_holds => NULL);
    show  bigint := boxoffice.create_show(event, 'Europe/Berlin', '2035-01-01 20:00');
BEGIN
    PERFORM boxoffice.create_price_type(boxoffice.create_zone(show, 'zone', capacity), 'adult', price);
    PERFORM boxoffice.publish_event(event);
    RETURN show;
END
$$;

-- an extension that comes again counts its own zones, in sessions that knew the old one, too
CREATE EXTENSION pg_usher;
SELECT pg_temp.show(100);
SELECT (r).total FROM boxoffice.reserve(1, 1, 'ann', 3) r;
DROP EXTENSION pg_usher CASCADE;
CREATE EXTENSION pg_usher;
SELECT pg_temp.show(5, 7000);
SELECT free FROM boxoffice.availability(1);
SELECT pg_temp.why('SELECT boxoffice.reserve(1, 1, ''ann'', 6)');
SELECT (r).total FROM boxoffice.reserve(1, 1, 'ann', 4) r;
SELECT free FROM boxoffice.availability(1);
-- and a drop that rolls back has dropped nothing
BEGIN;
DROP EXTENSION pg_usher CASCADE;
CREATE EXTENSION pg_usher;
SELECT pg_temp.show(50);
SELECT (r).quantity FROM boxoffice.reserve(1, 1, 'ann', 50) r;
ROLLBACK;
SELECT free FROM boxoffice.availability(1);
SELECT pg_temp.why('SELECT boxoffice.reserve(1, 1, ''ann'', 2)');
SELECT invariant, detail FROM boxoffice.check() WHERE NOT ok;

-- capacities
SELECT pg_temp.why('SELECT boxoffice.set_capacity(NULL, 5)'), pg_temp.why('SELECT boxoffice.set_capacity(999, 5)'), pg_temp.why('SELECT boxoffice.set_capacity(1, NULL)'),
    pg_temp.why('SELECT boxoffice.set_capacity(1, -1)'), pg_temp.why('SELECT boxoffice.update_zone(NULL, ''x'')');
SELECT boxoffice.set_capacity(1, 9223372036854775807);
SELECT free FROM boxoffice.availability(1);
SELECT pg_temp.why('SELECT boxoffice.set_capacity(1, 3)');
SELECT boxoffice.set_capacity(1, 4);
SELECT free FROM boxoffice.availability(1);
-- a check that would wait for nothing, or for ever
SELECT pg_temp.why('SELECT boxoffice.check(NULL)'), pg_temp.why('SELECT boxoffice.check(''-1 s'')'), pg_temp.why('SELECT boxoffice.check(''100 years'')');

-- seats at the ends of numbers
SELECT boxoffice.create_zone(1, 'seats', 0, true) AS seats \gset
SELECT boxoffice.create_price_type(:seats, 'adult', 1) > 0;
SELECT boxoffice.add_seats(:seats, 'A', 1, 2147483640, 2147483647), boxoffice.add_seats(:seats, 'B', 2, -2147483648, -2147483640, '{-2147483648,NULL,5}');
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.reserve(1, :seats, 'ann', 2) r;
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.reserve(1, :seats, 'ann', 9) r;
SELECT (r).items -> 0 -> 'seats' FROM boxoffice.best_available(1, :seats, 'ann', 6, split => true) r;
SELECT pg_temp.why('SELECT boxoffice.add_seats(NULL, ''C'', 3, 1, 5)'), pg_temp.why(format('SELECT boxoffice.add_seats(%s, ''C'', 3, 5, 1)', :seats)),
    pg_temp.why(format('SELECT boxoffice.add_seats(%s, ''C'', 3, -2147483648, 2147483647)', :seats)), pg_temp.why('SELECT boxoffice.add_seats(1, ''C'', 3, 1, 5)'),
    pg_temp.why(format('SELECT boxoffice.add_seats(%s, ''C'', 3, NULL, 5)', :seats)), pg_temp.why(format('SELECT boxoffice.add_seats(%s, repeat(''x'', 63), 3, 1, 5)', :seats));
SELECT boxoffice.add_seats(:seats, 'C', 3, 1, 5);
SELECT pg_temp.why(format('SELECT boxoffice.reserve(1, %s, ''ann'', 2, ARRAY[''C1'', ''C1''])', :seats)), pg_temp.why(format('SELECT boxoffice.reserve(1, %s, ''ann'', 1, ARRAY[NULL])', :seats)),
    pg_temp.why(format('SELECT boxoffice.reserve(1, %s, ''ann'', 2, ''{{A,B},{C,D}}'')', :seats)), pg_temp.why(format('SELECT boxoffice.reserve(1, %s, ''ann'', 1, ''{}'')', :seats));

-- what is asked for
SELECT boxoffice.set_capacity(1, 100000);
SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, 1, ''ann'', %s, ttl => %L)', show, n, ttl))
FROM (VALUES ('1', '0', '1 min'), ('1', 'NULL', '1 min'), ('1', '2147483647', '1 min'), ('1', '1', '200000 years'), ('1', '1', '-1 s'), ('1', '1', '0.9 s'), ('NULL', '1', '1 min')) v (show, n, ttl);
SELECT pg_temp.why('SELECT boxoffice.reserve_items(1, ''ann'', NULL)'), pg_temp.why('SELECT boxoffice.reserve_items(1, ''ann'', ''{}'')'),
    pg_temp.why('SELECT boxoffice.reserve_items(1, ''ann'', ARRAY[NULL]::boxoffice.reserve_item[])'),
    pg_temp.why('SELECT boxoffice.reserve_items(1, ''ann'', array_fill(ROW(1, NULL, 1, NULL, NULL, NULL)::boxoffice.reserve_item, ARRAY[100000]))'),
    pg_temp.why('SELECT boxoffice.reserve_many(array_fill(NULL::boxoffice.reserve_request, ARRAY[501]))'), pg_temp.why('SELECT boxoffice.reserve_many(NULL)');
SELECT sqlstate, count(*) FROM boxoffice.reserve_many(array_fill(NULL::boxoffice.reserve_request, ARRAY[500])) GROUP BY 1;
-- of names one rule, by whichever way they come: no control characters, 1 to 255 bytes
CREATE TEMP TABLE names AS SELECT * FROM (VALUES (1, E'a\x01'), (2, E'\t'), (3, E'x\x7f'), (4, ''), (5, repeat('x', 256)), (6, NULL), (7, repeat('x', 255)), (8, 'a b/ü')) v (n, name);
CREATE FUNCTION pg_temp.many(who text, key text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(sqlstate, 'done') || coalesce(' ' || message, '') || coalesce(' ' || detail, '')
    FROM boxoffice.reserve_many(ARRAY[('default', who, 1, ARRAY[(1, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[], key, NULL, NULL)]::boxoffice.reserve_request[])
$$;
SELECT n, pg_temp.why(format('SELECT boxoffice.reserve(1, 1, %L, 1)', name)), pg_temp.many(name, NULL) FROM names ORDER BY n;
SELECT n, pg_temp.why(format('SELECT boxoffice.reserve(1, 1, ''key'', 1, idempotency_key => %L)', name)), pg_temp.many('many', name) FROM names ORDER BY n;
SELECT booking_id AS named FROM boxoffice.reserve(1, 1, 'named', 1) \gset
SELECT n, pg_temp.why(format('SELECT boxoffice.begin_payment(%L, %L)', :'named', name)), pg_temp.why(format('SELECT boxoffice.add_seats(%s, %L, 50 + %s, 1, 1)', :seats, name, n)) FROM names WHERE n <> 7 ORDER BY n;
SELECT n, pg_temp.why(format('SELECT boxoffice.confirm(%L, %L)', :'named', name)) FROM names ORDER BY n;
-- seats that are chosen: accessible ones, and apart if there is no run; accessible ones are of a zone that has them, and are not named
SELECT boxoffice.create_zone(1, 'chosen', 0, true) AS chosen \gset
SELECT boxoffice.add_seats(:chosen, 'A', 1, 1, 6, '{2,3,5}');
SELECT boxoffice.create_price_type(:chosen, 'adult', 1) \g /dev/null
CREATE FUNCTION pg_temp.choose(items boxoffice.reserve_item[]) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(r.sqlstate || ' ' || r.message, (SELECT string_agg(i ->> 'seats', ' ') FROM jsonb_array_elements(r.booking::jsonb -> 'items') i))
    FROM boxoffice.reserve_many(ARRAY[('default', 'ann', 1, items, NULL, NULL, NULL)]::boxoffice.reserve_request[]) r
$$;
SELECT regexp_replace(pg_temp.choose(ARRAY[(:chosen, NULL, n, seats, accessible, split)]::boxoffice.reserve_item[]), 'zone \d+', 'zone')
FROM (VALUES (1, 3, NULL::text[], true, NULL), (2, 3, NULL, true, true), (3, 2, NULL, true, true), (4, 1, '{A1}', true, NULL), (5, 1, '{A1}', false, true), (6, 2, NULL, NULL, false), (7, 2, NULL, NULL, true)) v (o, n, seats, accessible, split) ORDER BY o;
SELECT pg_temp.choose(ARRAY[(1, NULL, 1, NULL, true, NULL)]::boxoffice.reserve_item[]), pg_temp.why('SELECT boxoffice.best_available(1, 1, ''ann'', 1, accessible => true)'), pg_temp.choose(ARRAY[(1, NULL, 1, NULL, NULL, true)]::boxoffice.reserve_item[]) IS NULL;
-- of several items one is refused, in a call whose others are not: the seats of the others are free
SELECT boxoffice.add_seats(:chosen, 'B', 2, 1, 4);
SELECT a.sqlstate, a.seats FROM boxoffice.reserve_many(ARRAY[
    ('default', 'ann', 1, ARRAY[(:chosen, NULL, 1, '{B1}', NULL, NULL), (:chosen, NULL, 2, NULL, NULL, NULL), (:chosen, NULL, 1, '{A2}', NULL, NULL)]::boxoffice.reserve_item[], NULL, NULL, NULL),
    ('default', 'bob', 1, ARRAY[(:chosen, NULL, 3, '{B1,B2,B3}', NULL, NULL)]::boxoffice.reserve_item[], NULL, NULL, NULL)]::boxoffice.reserve_request[]) a ORDER BY a.element;
SELECT label, booking_id IS NULL FROM boxoffice.seats WHERE zone_id = :chosen AND label ~ 'B' ORDER BY label;
-- money: half goes to the even one, once an item; the most there can be; more is refused
SELECT boxoffice.create_price_type(1, 'halves', 50, 100, 300, 1) AS halves \gset
SELECT (r).tax, (r).fee, (r).total FROM generate_series(1, 4) n CROSS JOIN LATERAL boxoffice.reserve(1, 1, 'ann', n, price_type => :halves) r;
SELECT (r).tax, (r).fee, (r).total FROM boxoffice.reserve_items(1, 'ann', ARRAY[ROW(1, :halves, 1, NULL, NULL, NULL), ROW(1, :halves, 3, NULL, NULL, NULL)]::boxoffice.reserve_item[]) r;
SELECT boxoffice.create_price_type(1, 'most', 1000000000000, 100000, 100000, 2) AS most \gset
SELECT (r).total FROM boxoffice.reserve_items(1, 'ann', array_fill(ROW(1, :most, 1000, NULL, NULL, NULL)::boxoffice.reserve_item, ARRAY[20])) r;
SELECT pg_temp.why('SELECT boxoffice.create_price_type(1, ''more'', 1000000000001)'), pg_temp.why('SELECT boxoffice.create_price_type(1, ''more'', 1, 100001)'), pg_temp.why('SELECT boxoffice.create_price_type(1, ''less'', -1)');

-- times that have no instant, hours that there are twice or not at all
SELECT pg_temp.why(format('SELECT boxoffice.create_show(1, %L, %L)', zone, at))
FROM (VALUES ('UTC', 'infinity'), ('UTC', '-infinity'), ('America/Los_Angeles', '294276-12-31 23:59'), ('Pacific/Kiritimati', '4714-11-24 BC'), ('UTC', NULL), (NULL, '2035-01-01'), ('europe/berlin', '2035-01-01')) v (zone, at);
SELECT pg_temp.why('SELECT boxoffice.move_show(1, ''infinity'')'), pg_temp.why('SELECT boxoffice.move_show(1, NULL)');
SELECT boxoffice.create_show(1, 'Europe/Berlin', '2035-03-25 02:30') AS gap, boxoffice.create_show(1, 'Europe/Berlin', '2035-10-28 02:30') AS twice \gset
SELECT starts_local, (starts_local AT TIME ZONE time_zone) AT TIME ZONE 'UTC' FROM boxoffice.shows WHERE show_id IN (:gap, :twice) ORDER BY show_id;

-- steps of a booking
SELECT booking_id AS one FROM boxoffice.reserve(1, 1, 'ann', 1) \gset
SELECT pg_temp.why(format('SELECT boxoffice.extend(%L, %L)', :'one', more)) FROM (VALUES (NULL), ('-1 s'), ('0'), ('290000 years'), ('-1 month 32 days')) v (more);
SELECT pg_temp.why(format('SELECT boxoffice.cancel(%L, items => %L)', :'one', items)) FROM (VALUES ('{}'), ('{NULL}'), ('{1,NULL}'), ('{2}'), ('{-2147483648}')) v (items);
SELECT pg_temp.why(format('SELECT boxoffice.cancel(%L, repeat(''x'', 1001))', :'one')), pg_temp.why(format('SELECT boxoffice.confirm(%L, repeat(''x'', 256))', :'one')),
    pg_temp.why(format('SELECT boxoffice.begin_payment(%L, repeat(''x'', 256))', :'one')), pg_temp.why(format('SELECT boxoffice.confirm(%L, '''')', :'one')), pg_temp.why('SELECT boxoffice.confirm(NULL, ''x'')');
SELECT (b).status FROM boxoffice.booking(:'one') b;
SELECT pg_temp.why(format('SELECT boxoffice.booking(%L, ''eve'')', :'one')), pg_temp.why(format('SELECT boxoffice.cancel(%L, user_id => ''eve'')', :'one')),
    pg_temp.why(format('SELECT boxoffice.extend(%L, ''1 s'', ''eve'')', :'one')), pg_temp.why(format('SELECT boxoffice.begin_payment(%L, ''x'', ''eve'')', :'one')), pg_temp.why(format('SELECT boxoffice.confirm(%L, ''x'', ''eve'')', :'one'));
-- edges of the sale
SELECT boxoffice.update_event(1, sale_from => clock_timestamp() + '1 hour');
SELECT pg_temp.why('SELECT boxoffice.reserve(1, 1, ''ann'', 1)'), pg_temp.why('SELECT boxoffice.update_event(1, sale_until => clock_timestamp())');
SELECT boxoffice.update_event(1, sale_from => clock_timestamp(), sale_until => clock_timestamp() + '1 hour');
SELECT pg_temp.why('SELECT boxoffice.reserve(1, 1, ''ann'', 1)');
SELECT boxoffice.update_event(1, sale_until => clock_timestamp(), clear => '{sale_from}');
SELECT pg_temp.why('SELECT boxoffice.reserve(1, 1, ''ann'', 1)');
-- another tenant reaches nothing of it, by no function, and sees no row of it
SELECT usher.create_tenant('other') \g /dev/null
SELECT boxoffice.create_category('opera', 'Opera') AS category \gset
CREATE ROLE regress_edges IN ROLE usher_writer;
SELECT usher.grant_tenant('other', 'regress_edges');
CREATE TEMP TABLE before AS SELECT (SELECT max(position) FROM usher.log) AS position;
CREATE TEMP TABLE one AS SELECT :'one'::uuid AS booking, :seats AS seats, :category AS category;
GRANT SELECT ON one TO regress_edges;
SET usher.tenant = 'other';
SET ROLE regress_edges;
SELECT f, pg_temp.why(format('SELECT boxoffice.' || f, booking)) FROM one, unnest(ARRAY['reserve(1, 1, ''ann'', 1)', 'reserve_items(1, ''ann'', ARRAY[ROW(1, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[])',
    'best_available(1, ' || seats || ', ''ann'', 1)', 'availability(1)', 'booking(%L)', 'confirm(%L, ''p'')', 'cancel(%L)', 'extend(%L, ''1 s'')', 'begin_payment(%L, ''p'')', 'begin_refund(%L)',
    'finish_refund(%L, true)', 'set_capacity(1, 1)', 'update_zone(1, ''x'')', 'add_seats(' || seats || ', ''Z'', 9, 1, 2)', 'create_price_type(1, ''x'', 1)', 'update_price_type(1, unit_price => 0)',
    'create_show(1, ''UTC'', ''2035-01-01'')', 'move_show(1, ''2035-01-01'')', 'cancel_show(1)', 'create_zone(1, ''x'', 1)', 'publish_event(1)', 'update_event(1, ''x'')', 'end_event(1)', 'cancel_event(1)',
    'create_event(''x'', ''EUR'', ' || category || ')']) f;
SELECT count(*) FROM boxoffice.bookings('ann');
SELECT count(*) FROM boxoffice.pending('ann');
SELECT (SELECT count(*) FROM boxoffice.categories), (SELECT count(*) FROM boxoffice.events), (SELECT count(*) FROM boxoffice.shows), (SELECT count(*) FROM boxoffice.zones), (SELECT count(*) FROM boxoffice.price_types),
    (SELECT count(*) FROM boxoffice.seats), (SELECT count(*) FROM boxoffice.bookings), (SELECT count(*) FROM boxoffice.booking_items);
RESET ROLE;
SELECT w, pg_temp.why(format('SELECT usher.gateway_box_organise(''other'', ''eve'', %L, 1, %L)', w, b)) FROM (VALUES ('update event', '{"title": "x"}'), ('update event', '{"status": "cancelled"}'), ('cancel event', '{}'),
    ('create show', '{"time_zone": "UTC", "starts_local": "2035-01-01"}'), ('update show', '{"time_zone": "UTC"}'), ('cancel show', '{}'), ('create zone', '{"name": "x", "capacity": 1}'), ('update zone', '{"capacity": 1}'),
    ('update zone', '{"name": "x"}'), ('update zone', '{}'), ('create row', '{"row": "A", "rank": 1, "first": 1, "last": 1}'), ('create price', '{"name": "x", "unit_price": 1}'), ('update price', '{"unit_price": 1}'), ('withdraw price', '{}')) v (w, b);
SELECT a, pg_temp.why(format('SELECT usher.gateway_box_change(''other'', ''eve'', NULL, %L, %L, %L)', booking, a, '{"payment_ref": "p", "provider_ref": "p", "seconds": 1, "succeeded": true}'))
FROM one, unnest(ARRAY['confirm', 'begin-payment', 'extend', 'cancel', 'begin-refund', 'finish-refund']) a;
SELECT pg_temp.why(format('SELECT usher.gateway_box_booking(''other'', NULL, %L)', booking)), pg_temp.why('SELECT usher.gateway_box_availability(''other'', 1, true)'), pg_temp.why('SELECT usher.gateway_box_one(''other'', ''zone'', true, 1)'),
    pg_temp.why('SELECT usher.gateway_box_list(''other'', ''zones'', true, ''{"show": 1}'')'), pg_temp.why(format('SELECT usher.gateway_box_seats(''other'', true, %s)', seats)) FROM one;
SELECT (SELECT count(*) FROM usher.gateway_box_bookings('other', NULL)), (SELECT count(*) FROM usher.gateway_box_list('other', 'events', true));
RESET usher.tenant;
SELECT count(*) FROM usher.log, before WHERE log.position > before.position;
SELECT (b).status FROM boxoffice.booking(:'one') b;
-- what is to be given back is found by its index, among many that are not; each session plans for what it is asked first, and later for anything
SELECT boxoffice.create_zone(1, 'many', 5000) AS many, boxoffice.update_event(1, clear => '{sale_until}') \gset
SELECT boxoffice.create_price_type(:many, 'adult', 5) \g /dev/null
SELECT count(*) FROM generate_series(1, 10) call, boxoffice.reserve_many(ARRAY(SELECT ('default', 'u' || n, 1, ARRAY[(:many, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[],
    NULL, '30 min', NULL)::boxoffice.reserve_request FROM generate_series(1, 500) n WHERE call > 0)) r WHERE r.sqlstate IS NULL;
SELECT count(boxoffice.cancel((c).booking_id)) FROM (SELECT boxoffice.confirm(booking_id, 'p-' || user_id) c FROM boxoffice.bookings WHERE user_id IN ('u7', 'u9')) c;
ANALYZE boxoffice.bookings;
SELECT pg_stat_force_next_flush() \g /dev/null
BEGIN;
SELECT sum((SELECT count(*) FROM usher.gateway_box_bookings('default', NULL, 'refund-due', event => CASE WHEN n < 9 THEN 1 END))) FROM generate_series(1, 9) n WHERE n > 0;
SELECT pg_stat_get_xact_numscans('boxoffice.bookings_refunds'::regclass) AS by_refund, pg_stat_get_xact_numscans('boxoffice.bookings'::regclass) AS all_rows,
    pg_stat_get_xact_tuples_returned('boxoffice.bookings_refunds'::regclass) AS rows_read;
COMMIT;
-- places of another event do not count for a limit; a key is the user's, whatever the event, limited (the first three shows) or not
CREATE FUNCTION pg_temp.sell(show bigint, key text, n integer) RETURNS text LANGUAGE sql AS
$$SELECT pg_temp.why(format('SELECT boxoffice.reserve(%s, %s, ''two'', %s, idempotency_key => %L)', show, (SELECT min(zone_id) FROM boxoffice.zones z WHERE z.show_id = show), n, key))$$;
SELECT pg_temp.show(50) AS a, pg_temp.show(50) AS b, pg_temp.show(50) AS c, pg_temp.show(50) AS free \gset
SELECT count(boxoffice.update_event(event_id, user_limit => 2)) FROM boxoffice.shows WHERE show_id IN (:a, :b, :c);
SELECT pg_temp.sell(:a, 'k1', 2), pg_temp.sell(:b, 'k2', 1), pg_temp.sell(:b, 'k3', 1), pg_temp.sell(:free, 'k4', 3);
SELECT pg_temp.sell(:a, 'k5', 1), pg_temp.sell(:b, NULL, 1), pg_temp.sell(:free, NULL, 3);
SELECT pg_temp.sell(:c, 'k1', 2), pg_temp.sell(:c, 'k4', 1), pg_temp.sell(:free, 'k1', 2), pg_temp.sell(:free, 'k2', 1);
SELECT pg_temp.sell(:a, 'k1', 2), pg_temp.sell(:b, 'k3', 1), pg_temp.sell(:free, 'k4', 3), pg_temp.sell(:c, 'k6', 2);
SELECT show_id IN (:a, :b, :c) AS limited, count(*), sum(quantity) FROM boxoffice.bookings WHERE user_id = 'two' GROUP BY 1 ORDER BY 1;
SELECT invariant, detail FROM boxoffice.check() WHERE NOT ok;
\c postgres
DROP DATABASE regress_usher_edges;
DROP ROLE regress_edges;
