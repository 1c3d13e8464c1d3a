-- The relay's own writer of JSON gives the same bytes as PostgreSQL's cast, whatever the value.
BEGIN;
CREATE FUNCTION json_text(jsonb) RETURNS text LANGUAGE c STRICT AS '$libdir/pg_usher', 'usher_jsonb_text_check';

CREATE FUNCTION wrong(value jsonb) RETURNS boolean LANGUAGE sql AS $$ SELECT json_text(value) IS DISTINCT FROM value::text $$;

-- by hand
SELECT json_text(v::jsonb) AS text FROM (VALUES
    ('{}'), ('[]'), ('{"a": {}, "b": [], "c": [[], {}]}'), ('null'), ('true'), ('"x"'), ('-12.50'),
    ('{"id": 48151623, "qty": -3, "price": 19.990, "tiny": 0.000012, "e": 1e20, "zero": 0.00, "no": false, "none": null}'),
    ('{"escaped \"\\ \u0001\u001f\b\f\n\r\t/": "é ☃ 😀"}')) AS t (v);

-- numbers: each length and scale, around the borders of groups of four digits, short and long forms
SELECT count(*) AS checked, count(*) FILTER (WHERE wrong(v)) AS wrong FROM (
    SELECT to_jsonb(sign * (round(m * (10::numeric ^ places), greatest(scale, 0)))) AS v
    FROM unnest(ARRAY[1, -1]) AS sign,
         unnest(ARRAY[0, 1, 9, 10, 99, 1000, 9999, 10000, 99999999, 100000000, 1.5, 123456789012345678901234567890.0987654321]) AS m,
         generate_series(-12, 40) AS places, unnest(ARRAY[0, 1, 3, 4, 5, 8, 20, 63, 64, 130, 300]) AS scale) AS n;
SELECT wrong(to_jsonb((repeat('7', 5000) || '.' || repeat('3', 1000))::numeric)) AS long_number,
       wrong(('1e' || n)::jsonb) AS power FROM unnest(ARRAY[100, 196, 200, 1000, 131071]) AS n;

-- strings: each byte below 128 at each place of two words, and lengths around a word
SELECT count(*) AS checked, count(*) FILTER (WHERE wrong(to_jsonb(repeat('x', at) || chr(c) || repeat('y', behind)))) AS wrong
FROM generate_series(1, 127) AS c, generate_series(0, 16) AS at, unnest(ARRAY[0, 1, 6, 7, 8, 9]) AS behind;

-- random values, nested, of all kinds
SELECT setseed(0.25);
CREATE FUNCTION random_text(length integer) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(string_agg(chr(CASE floor(random() * 6)::integer
        WHEN 0 THEN 1 + floor(random() * 40)::integer WHEN 1 THEN 160 + floor(random() * 1000)::integer
        WHEN 2 THEN 65536 + floor(random() * 60000)::integer ELSE 32 + floor(random() * 95)::integer END), ''), '')
    FROM generate_series(1, length)
$$;
CREATE FUNCTION random_json(depth integer) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kind  integer := floor(random() * CASE WHEN depth > 0 THEN 9 ELSE 6 END);
    items integer := floor(random() * random() * 60);
BEGIN
    RETURN CASE kind
        WHEN 0 THEN 'null'
        WHEN 1 THEN to_jsonb(random() < 0.5)
        WHEN 2 THEN to_jsonb(floor((random() - 0.5) * 10 ^ (random() * 18))::numeric)
        WHEN 3 THEN to_jsonb(round((random() - 0.5)::numeric * 10::numeric ^ (random() * 12)::integer, floor(random() * 10)::integer))
        WHEN 4 THEN to_jsonb(random_text(floor(random() * 30)::integer))
        WHEN 5 THEN to_jsonb(random() * 10 ^ ((random() - 0.5) * 60))
        WHEN 6 THEN (SELECT coalesce(jsonb_agg(random_json(depth - 1)), '[]') FROM generate_series(1, items))
        ELSE (SELECT coalesce(jsonb_object_agg(random_text(1 + floor(random() * 12)::integer), random_json(depth - 1)), '{}')
              FROM generate_series(1, items))
    END;
END
$$;
SELECT count(*) AS checked, count(*) FILTER (WHERE wrong(v)) AS wrong, max(length(v::text)) > 1000 AS some_long
FROM (SELECT random_json(2) AS v FROM generate_series(1, 500)) AS r;

-- more names than one run of offsets, and deeper than the stack is followed
SELECT wrong((SELECT jsonb_object_agg('name ' || n, repeat('v', n % 50)) FROM generate_series(1, 3000) AS n)) AS wide,
       wrong((repeat('[', 199) || repeat(']', 199))::jsonb) AS deep, wrong((repeat('{"a": [1, ', 800) || '0' || repeat(']}', 800))::jsonb) AS deeper;
ROLLBACK;
