CREATE FUNCTION boxoffice.event_quiet(tenant integer, event bigint)
RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_event_quiet';
COMMENT ON FUNCTION boxoffice.event_quiet IS
'Internal: whether everybody who may have seen an older state of the event, than the one that is committed, is done and visible.';
