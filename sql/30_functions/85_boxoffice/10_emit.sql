CREATE FUNCTION boxoffice.emit(tenant integer, stream text, type text, data jsonb)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_emit';
COMMENT ON FUNCTION boxoffice.emit IS
'Internal: append an event of a tenant, with the rights of the box office. Returns its version.';
