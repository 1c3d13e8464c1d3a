-- Values in the events of a watched table: as to_jsonb gives them, whatever the session has set.
\getenv inputdir PG_ABS_SRCDIR
\set try :inputdir '/sql/include/try.sql'
\set watch :inputdir '/sql/include/watch.sql'
\set ECHO none
\i :try
\i :watch
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null '(null)'
SET client_min_messages = warning;
CREATE SCHEMA watched_types;
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE TYPE watched_types.mood AS ENUM ('sad', 'happy');
CREATE DOMAIN watched_types.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN watched_types.instant AS timestamptz;
CREATE TYPE watched_types.pair AS (a int, "b c" text[]);
CREATE DOMAIN watched_types.pairs AS watched_types.pair[];
CREATE TABLE watched_types.all_types (
    id uuid PRIMARY KEY, c_bool bool, c_int2 int2, c_int4 int4, c_int8 int8, c_float4 float4, c_float8 float8, c_numeric numeric,
    c_text text, c_varchar varchar(20), c_char char(5), c_name name, c_single "char", c_bytea bytea, c_date date, c_time time,
    c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz, c_interval interval, c_json json, c_jsonb jsonb, c_xml xml,
    c_inet inet, c_bits varbit, c_range int4range, c_multirange int4multirange, c_point point, c_money money, c_oid oid, c_class regclass,
    c_tsvector tsvector, c_mood watched_types.mood, c_positive watched_types.positive, c_instant watched_types.instant,
    c_pair watched_types.pair, c_pairs watched_types.pairs, c_ints int[], c_matrix text[][], c_moods watched_types.mood[], c_hstore hstore,
    "Quoted ""name"", with a comma" text, c_generated text GENERATED ALWAYS AS (c_text || '!') STORED, c_identity int GENERATED ALWAYS AS IDENTITY);
SET IntervalStyle = postgres;                     -- (pg_regress sets another)
SELECT usher.watch('watched_types.all_types');
SELECT usher.stable_position() AS start \gset
INSERT INTO watched_types.all_types VALUES ('00000000-0000-4000-8000-000000000001', true, -2, 4, 9223372036854775807, 0.1, 1e300, 12345678901234567890.12300,
    E'line\n"quoted" \\ tab\t \u00e9\u4e2d', 'v', 'c', 'n', 'x', '\xdeadbeef00', '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 12:34:56.789',
    '2024-02-29 12:34:56.789+02', '1 mon 2 days 03:04:05', '{"b": 1.50, "a": [1, {"x": null}], "b": "again"}', '{"k": [true, "x", {}]}', '<a>1</a>',
    '10.0.0.1/8', B'1010', '[1,5)', '{[1,2),[5,7)}', '(1.5,2)', 12.5, 42, 'pg_class', 'a:1 b:2', 'happy', 7, '2024-01-01 00:00+00',
    ROW(1, '{x,NULL}'), ARRAY[ROW(2, NULL)::watched_types.pair, NULL], '{1,NULL,3}', '{{a,b},{c,d}}', '{sad,happy}', 'x=>1, y=>NULL', 'odd');
INSERT INTO watched_types.all_types (id) VALUES ('00000000-0000-4000-8000-000000000002');
INSERT INTO watched_types.all_types (id, c_float4, c_float8, c_numeric, c_date, c_timestamptz, c_timestamp, c_json, c_jsonb, c_text, c_ints) VALUES
    ('00000000-0000-4000-8000-000000000003', 'NaN', '-Infinity', 'NaN', 'infinity', '-infinity', '4713-01-01 BC', '"scalar"', 'null', '', '{}'),
    ('00000000-0000-4000-8000-000000000004', 3.4028235e38, 5e-324, 'Infinity', '0044-03-15 BC', '0001-01-01 00:00 BC', NULL, '7', '[]', repeat('x', 3000), '[2:3]={1,2}');
SELECT * FROM pg_temp.differs('watched_types.all_types', :start);
-- the numbers keep their digits, and a key is text
SELECT e.key, e.data -> 'new' -> 'c_numeric', e.data -> 'new' -> 'c_json', e.data -> 'new' -> 'c_pairs', e.data -> 'new' -> 'c_hstore'
FROM pg_temp.seen(:start) e LIMIT 1;
-- settings of the session make no difference, and are as before after it
CREATE TABLE watched_types.formats (id int PRIMARY KEY, b bytea, d date, t timestamptz, i interval, f float8, r daterange);
SELECT usher.watch('watched_types.formats');
SELECT usher.stable_position() AS start \gset
INSERT INTO watched_types.formats VALUES (1, '\xff00', '2024-02-29', '2024-02-29 12:00+00', '1 day 02:00', 0.1 + 0.2::float8, '[2024-02-01,2024-02-29)');
SET bytea_output = escape; SET DateStyle = 'German'; SET IntervalStyle = iso_8601; SET extra_float_digits = -5;
INSERT INTO watched_types.formats VALUES (2, '\xff00', '29.02.2024', '29.02.2024 12:00+00', '1 day 02:00', 0.1 + 0.2::float8, '[01.02.2024,29.02.2024)');
SELECT b, d, i, f FROM watched_types.formats WHERE id = 2;
RESET bytea_output; RESET DateStyle; RESET IntervalStyle; RESET extra_float_digits;
SELECT key, data -> 'new' FROM pg_temp.seen(:start);

-- json that jsonb does not take goes as a string: the table remains writable
CREATE TABLE watched_types.documents (id int PRIMARY KEY, j json);
SELECT usher.watch('watched_types.documents');
SELECT usher.stable_position() AS start \gset
INSERT INTO watched_types.documents VALUES (1, '{"a": "\u0000"}'), (2, '"\ud834"'), (3, '"\ud834\udd1e \u00e9 \\u0000 true 1e5"'), (4, '{"n": 1e999999}'),
    (5, '{"n": 1e-20, "eE": [false, true, 12345678901234567890123]}'), (6, '"\udd1e"'), (7, '["\"", "\\", 1E+3]');
SELECT key, data -> 'new' -> 'j', jsonb_typeof(data -> 'new' -> 'j') FROM pg_temp.seen(:start);

-- large values: kept whole when they were not touched, left out when an event cannot hold them
CREATE TABLE watched_types.large (id int PRIMARY KEY, n int, a text, b text, c text);
ALTER TABLE watched_types.large ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTENDED, ALTER c SET STORAGE EXTERNAL;
SELECT usher.watch('watched_types.large');
SELECT usher.stable_position() AS start \gset
INSERT INTO watched_types.large VALUES (1, 1, repeat('a', 10000), repeat('b', 100000), 'c');
UPDATE watched_types.large SET n = 2;
UPDATE watched_types.large SET a = repeat('a', 10000);
UPDATE watched_types.large SET a = repeat('a', 9999) || 'x';
UPDATE watched_types.large SET b = NULL;
SELECT type, data -> 'changed' AS changed, length(data -> 'new' ->> 'a') AS a, right(data -> 'new' ->> 'a', 2) AS tail, right(data -> 'old' ->> 'a', 2) AS old_tail,
    length(data -> 'new' ->> 'b') AS b, length(data -> 'old' ->> 'b') AS old_b FROM pg_temp.seen(:start);
SELECT * FROM pg_temp.differs('watched_types.large', :start);
SELECT usher.stable_position() AS start \gset
UPDATE watched_types.large SET c = repeat('c', 600000);
UPDATE watched_types.large SET n = 3;
UPDATE watched_types.large SET c = repeat('c', 8000000);
UPDATE watched_types.large SET n = 4;
DELETE FROM watched_types.large;
SELECT type, key, data FROM pg_temp.seen(:start) WHERE data ? 'oversize';
SELECT type, key, data -> 'changed' FROM pg_temp.seen(:start) WHERE NOT data ? 'oversize';

-- keys as text: long ones, empty ones and those with control characters by their hash
CREATE TABLE watched_types.keys (a text, b numeric(5, 2), c bool DEFAULT true, UNIQUE (a, b));
SELECT usher.watch('watched_types.keys', key => '{a}');
SELECT usher.stable_position() AS start \gset
INSERT INTO watched_types.keys VALUES ('plain', 1), ('', 2), (NULL, 3), (E'tab\t', 4), (repeat('k', 255), 5), (repeat('k', 256), 6), ('sp ace "q"', 7);
SELECT left(key, 80), length(key), data -> 'new' -> 'b' FROM pg_temp.seen(:start);
SELECT usher.watch('watched_types.keys', key => '{b}', columns => '{a}');
INSERT INTO watched_types.keys VALUES ('number', 1.5);
SELECT usher.watch('watched_types.keys', key => '{c,b,a}', columns => '{a}');
INSERT INTO watched_types.keys VALUES ('three', 2.5);
UPDATE watched_types.keys SET a = 'four' WHERE a = 'three';
SELECT type, key, data FROM pg_temp.seen(:start) OFFSET 7;
DROP SCHEMA watched_types CASCADE;
DROP EXTENSION hstore;
