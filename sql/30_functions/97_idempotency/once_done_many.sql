CREATE FUNCTION usher.once_done_many(keys text[], responses text[])
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_once_done_many';
COMMENT ON FUNCTION usher.once_done_many IS
'usher.once_done for many keys at a time. responses: JSON texts or nulls, as many as keys. Errors: those of usher.once_done, 22P02 when a text is not JSON.';
