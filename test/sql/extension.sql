-- The extension comes, goes and comes again; its database can be copied, renamed and dropped while the worker runs.
\pset format unaligned
\pset tuples_only on
CREATE DATABASE regress_usher_extension;
\c regress_usher_extension
SET client_min_messages = warning;
-- created, used and rolled back
BEGIN;
CREATE EXTENSION pg_usher;
SELECT usher.append('ext-1', 'a');
SELECT version, type FROM usher.read_stream('ext-1');
ROLLBACK;
SELECT count(*) FROM pg_namespace WHERE nspname = 'usher';
-- created and used in one transaction
BEGIN;
CREATE EXTENSION pg_usher;
SELECT usher.append('ext-1', 'a');
SELECT usher.append_many(array_agg('ext-2'::text), array_agg('b'::text), array_agg('{}'::text)) FROM generate_series(1, 100) i;
COMMIT;
SELECT position, stream, version FROM usher.read(0, 2);
SELECT usher.stream_version('ext-1'), usher.stream_version('ext-2');
SELECT usher.append('ext-1', 'b');
SELECT invariant, detail FROM usher.check() WHERE NOT ok;

-- what is ours belongs to the extension or hangs on it
SELECT count(*) FROM pg_class c WHERE relnamespace = 'usher'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
AND NOT c.relispartition
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('i', 'a'));

-- dropped, nothing is left
DROP EXTENSION pg_usher;
SELECT count(*) FROM pg_namespace WHERE nspname = 'usher';
SELECT count(*) FROM pg_class WHERE relname LIKE 'log%' AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace);
SELECT count(*) FROM pg_proc WHERE probin LIKE '%pg_usher%';
SELECT count(*) FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.oid = d.refobjid);
SELECT usher.append('ext-1', 'a');
\echo :LAST_ERROR_SQLSTATE
SET usher.tenant = 'default';

-- created anew in the same session, it begins anew
CREATE EXTENSION pg_usher;
SELECT usher.append('ext-1', 'a'), usher.append('ext-1', 'b');
SELECT stream, version, type FROM usher.read();
SELECT usher.stream_version('ext-2');
DROP EXTENSION pg_usher CASCADE;
BEGIN;
CREATE EXTENSION pg_usher;
SELECT usher.append('ext-3', 'a');
SAVEPOINT s;
SELECT usher.append('ext-3', 'b');
ROLLBACK TO s;
COMMIT;
SELECT stream, version, type FROM usher.read();
-- dropped in a transaction that rolls back
BEGIN;
DROP EXTENSION pg_usher;
ROLLBACK;
SELECT usher.append('ext-3', 'b', '{}', 1);
SELECT stream, version, type FROM usher.read();
-- appended and dropped in one transaction: refused or gone, but no crash
BEGIN;
SELECT usher.append('ext-3', 'c');
DROP EXTENSION pg_usher;
COMMIT;
SELECT count(*) FROM pg_extension WHERE extname = 'pg_usher';

-- the worker steps aside for what needs the database alone
CREATE EXTENSION IF NOT EXISTS pg_usher;
SELECT usher.append('ext-4', 'a') > 0;
SELECT usher.stable_position() AS stable \gset
\c regress
SET client_min_messages = warning;
ALTER DATABASE regress_usher_extension RENAME TO regress_usher_renamed;
CREATE DATABASE regress_usher_copy TEMPLATE regress_usher_renamed;
\c regress_usher_copy
SELECT usher.append('ext-4', 'in the copy') > 0;
SELECT usher.last_position() > :stable;
SELECT type FROM usher.read_stream('ext-4');
\c regress_usher_renamed
SELECT usher.append('ext-4', 'in the original') > 0;
SELECT type FROM usher.read_stream('ext-4');
SELECT invariant, detail FROM usher.check() WHERE NOT ok;
\c regress
DROP DATABASE regress_usher_copy;
DROP DATABASE regress_usher_renamed;
SELECT count(*) FROM pg_database WHERE datname LIKE 'regress_usher%';
