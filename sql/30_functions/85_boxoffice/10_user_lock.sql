CREATE FUNCTION boxoffice.user_lock(tenant integer, user_id text)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_user_lock';
COMMENT ON FUNCTION boxoffice.user_lock IS
'Internal: a user''s requests follow each other until the end of the transaction.';
