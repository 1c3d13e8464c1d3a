-- usher.matches and usher.category by table, and that the readers agree with them.
BEGIN;
CREATE TEMPORARY TABLE patterns (n int GENERATED ALWAYS AS IDENTITY, pattern text, type text, expected boolean);
INSERT INTO patterns (pattern, type, expected) VALUES
    ('order.placed', 'order.placed', true),
    ('order.placed', 'order.paid', false),
    ('order.placed', 'Order.placed', false),
    ('order', 'order.placed', false),
    ('*', 'order', true),
    ('*', 'order.placed.late', true),
    ('order.*', 'order.placed', true),
    ('order.*', 'order', false),
    ('order.*', 'order.placed.late', false),
    ('order.*', 'reorder.placed', false),
    ('*.placed', 'order.placed', true),
    ('*.placed', 'a.order.placed', false),
    ('*.*', 'order.placed', true),
    ('*.*', 'order', false),
    ('order.*.late', 'order.placed.late', true),
    ('order.p*', 'order.placed', true),
    ('order.p*', 'order.cancelled', false),
    ('*ed', 'placed', true),
    ('order.*c*', 'order.cancelled', true),
    ('**', 'order.placed.late', true),
    ('order.**', 'order', true),
    ('order.**', 'order.placed.late', true),
    ('order.**', 'orders.placed', false),
    ('**.late', 'late', true),
    ('**.late', 'order.placed.late', true),
    ('**.late', 'order.late.not', false),
    ('order.**.late', 'order.late', true),
    ('order.**.late', 'order.a.b.late', true),
    ('order.**.late', 'order.a.b', false),
    ('**.a.**', 'x.a.y', true),
    ('**.a.**', 'a', true),
    ('**.a.**', 'x.y', false),
    ('a.b', 'a.b.', false),
    ('a.*', 'a.', true),
    ('заказ.*', 'заказ.создан', true),
    ('%', 'order', false),
    ('order_placed', 'order.placed', false),
    ('order.(placed|paid)', 'order.paid', false),
    ('[a-z]*', 'order', false);
CREATE TEMPORARY TABLE categories (n int GENERATED ALWAYS AS IDENTITY, stream text, expected text);
INSERT INTO categories (stream, expected) VALUES
    ('order-42', 'order'), ('order', 'order'), ('order-42-7', 'order'), ('-42', ''), ('order-', 'order'), ('a b-c', 'a b'),
    ('заказ-1', 'заказ'), ('order_42', 'order_42'), ('urn:x:y-1', 'urn:x:y');

SELECT plan((SELECT count(*)::int FROM patterns) + (SELECT count(*)::int FROM categories) + 6);

SELECT is(usher.matches(pattern, type), expected, format('"%s" %s "%s"', pattern, CASE WHEN expected THEN 'matches' ELSE 'does not match' END, type))
FROM patterns ORDER BY n;
SELECT is(usher.matches(NULL, 'a'), NULL, 'no pattern, no answer');
SELECT is(usher.matches('a', NULL), NULL, 'no type, no answer');
SELECT is(usher.category(stream), expected, format('category of "%s"', stream)) FROM categories ORDER BY n;
SELECT is(usher.category(NULL), NULL, 'no stream, no category');

-- an inline projection is called for exactly the types that match
CREATE TABLE matched (pattern text, type text);
CREATE FUNCTION note() RETURNS void LANGUAGE sql AS '';
DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT DISTINCT pattern, md5(pattern) AS hash FROM patterns LOOP
        EXECUTE format('CREATE FUNCTION public.match_%s(event usher.event) RETURNS void LANGUAGE sql AS $f$ INSERT INTO public.matched VALUES (%L, event.type) $f$', p.hash, p.pattern);
        PERFORM usher.project(p.pattern, p.pattern, format('public.match_%s(usher.event)', p.hash)::regprocedure);
    END LOOP;
END
$$;
SELECT is(count(usher.append('matching-1', type)), count(*), 'appended one event of each type') FROM (SELECT DISTINCT type FROM patterns) t;
SELECT is_empty($$SELECT p.pattern, t.type FROM (SELECT DISTINCT pattern FROM patterns) p, (SELECT DISTINCT type FROM patterns) t
    WHERE usher.matches(p.pattern, t.type) AND NOT EXISTS (SELECT FROM matched m WHERE m.pattern = p.pattern AND m.type = t.type)$$,
    'projections run for every type that matches');
SELECT is_empty($$SELECT m.pattern, m.type FROM matched m WHERE NOT usher.matches(m.pattern, m.type)$$, 'and for no other');

SELECT * FROM finish();
ROLLBACK;
