-- The views: everything of the log, own pending events included.
\pset format unaligned
\pset tuples_only on
SELECT usher.stable_position() AS start \gset
SELECT usher.append('view-1', 'a', '{"n": 1}');
SELECT usher.publish('topic', 'key', 'p') IS NOT NULL;
BEGIN;
SELECT usher.append('view-1', 'b');
SELECT usher.append('view-2', 'a');
SELECT usher.publish('topic', 'key', 'q') IS NOT NULL;
SELECT position - :start, tenant, stream, category, version, type, topic, key, data, recorded_at IS NULL AS pending
FROM usher.events WHERE position > :start OR position IS NULL ORDER BY position NULLS LAST, type, stream;
SELECT stream, category, version, deleted, created_at = now() FROM usher.streams WHERE category = 'view' ORDER BY stream;
COMMIT;
SELECT position - :start, stream, version, type FROM usher.events WHERE position > :start ORDER BY position;
SELECT stream, version FROM usher.streams WHERE category = 'view' ORDER BY stream;
-- they show the session's tenant to roles, and all tenants to the owner
SELECT usher.create_tenant('view') > 1;
SET usher.tenant = 'view';
SELECT usher.append('view-1', 'other');
SELECT tenant, stream, version FROM usher.streams WHERE category = 'view' ORDER BY tenant, stream;
CREATE ROLE regress_usher_view IN ROLE usher_reader;
SELECT usher.grant_tenant('view', 'regress_usher_view');
RESET usher.tenant;
SET ROLE regress_usher_view;
SELECT tenant, stream, version FROM usher.streams WHERE category = 'view' ORDER BY tenant, stream;
SELECT tenant, stream, version FROM usher.events ORDER BY position;
RESET ROLE;
SELECT usher.revoke_tenant('view', 'regress_usher_view');
DROP ROLE regress_usher_view;
-- the partitions follow each other from the first position on
SELECT bool_and(from_position = coalesce(previous + 1, from_position)), min(from_position) >= 1
FROM (SELECT from_position, lag(to_position) OVER (ORDER BY from_position) AS previous FROM usher.log_partitions) p;
