CREATE FUNCTION usher.watched_columns(trigger oid, key_count int, column_count int, OUT key text[], OUT columns text[])
RETURNS record
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_watched_columns';
COMMENT ON FUNCTION usher.watched_columns IS
'For usher.watches: the columns that a trigger of a watch names in its WHEN clause. Error: US018 when they are not so many.';
