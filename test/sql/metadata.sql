-- Settings of the session fill the metadata that is not given.
\getenv inputdir PG_ABS_SRCDIR
\set include :inputdir '/sql/include/try.sql'
\set ECHO none
\i :include
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT usher.append('meta-1', 'a');
SET usher.correlation_id = 'c-1';
SET usher.causation_id = 'e-1';
SET usher.actor = 'alice';
SET usher.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
SET usher.source = '/shop';
SELECT usher.append('meta-1', 'b');
-- what is given wins, also null; other keys stay
SELECT usher.append('meta-1', 'c', '{}', NULL, '{"correlation_id": "mine", "actor": null, "user_id": 7}');
SELECT usher.append_batch('meta-1', ARRAY[('d', '{}', NULL, NULL), ('e', '{}', '{"source": "/batch"}', NULL)]::usher.new_event[]);
SELECT usher.append_many(ARRAY['meta-1', 'meta-1'], ARRAY['f', 'g'], ARRAY['{}', '{}'], ARRAY[NULL, '{"source": "/many"}']);
SELECT usher.append_many(ARRAY['meta-1'], ARRAY['h'], ARRAY['{}']);
SELECT usher.publish('meta', 'k', 'i', '{}', '{"x": 1}') IS NOT NULL;
-- an actor with a type
SET usher.actor = '{"id": "bob", "type": "user"}';
SELECT usher.append('meta-1', 'j');
SET usher.actor = '{"id": }';
SELECT pg_temp.try($$SELECT usher.append('meta-1', 'k')$$);
SET usher.actor = '{"id": "\u0000"}';
SELECT pg_temp.try($$SELECT usher.append('meta-1', 'k')$$);
-- text is not interpreted
SET usher.actor = '"quoted" \ {back}';
SET usher.source = E'tab\t"; DROP TABLE events; --';
SELECT usher.append('meta-1', 'l');
-- for one transaction
BEGIN;
SET LOCAL usher.correlation_id = 'local';
SELECT usher.append('meta-1', 'm');
COMMIT;
SELECT usher.append('meta-1', 'n');
-- a tombstone tells who deleted
SET usher.actor = 'carol';
RESET usher.source;
SELECT usher.append('meta-2', 'a');
SELECT usher.delete_stream('meta-2');
RESET usher.correlation_id;
RESET usher.causation_id;
RESET usher.actor;
RESET usher.traceparent;
SELECT usher.append('meta-1', 'o');
SELECT type, metadata FROM usher.read_stream('meta-1');
SELECT type, metadata FROM usher.read_stream('meta-2');
SELECT type, metadata FROM usher.events WHERE topic = 'meta';
