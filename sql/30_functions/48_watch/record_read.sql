CREATE FUNCTION usher.record_read("table" regclass, key jsonb)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_record_read';
COMMENT ON FUNCTION usher.record_read IS
'Say that a row of a watched table was read: appends schema.table.read with the row''s key, actor and session. Key: the value of a key of one column, an array in the order of the key''s columns, or an object. Returns the id of the event. For whoever may SELECT from the table. Errors: US018 when the table is not watched or the key is not one of its; 42501.';
