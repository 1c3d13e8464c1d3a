CREATE FUNCTION usher.watch("table" regclass, operations text[] DEFAULT '{create,update,delete}', key text[] DEFAULT NULL, columns text[] DEFAULT NULL, condition text DEFAULT NULL, snapshot boolean DEFAULT false)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_watch';
COMMENT ON FUNCTION usher.watch IS
'Make the table a source of events: each change appends schema.table.create, update, delete or truncate to the topic schema.table, in the tenant of the session that changes, with the row''s key as the key and {"key", "old", "new", "changed"} as the data. Operations: of create, update, delete (brings truncate with it), truncate. Key: the columns that order a row''s events, by default the primary key. Columns: those that are shown and whose change makes an update, by default all. Condition: an expression over OLD and NEW, without a name NEW (of a deletion OLD). Snapshot: the existing rows first, as schema.table.snapshot, in this transaction; many rows better with usher.watch_snapshot. Calling it again replaces the watch. For the table''s owner. Errors: US018 invalid_argument, 42501 not the owner, or the owner may not append.';
