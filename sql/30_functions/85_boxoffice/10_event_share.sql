CREATE FUNCTION boxoffice.event_share(tenant integer, event bigint)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_event_share';
COMMENT ON FUNCTION boxoffice.event_share IS
'Internal: before an event''s state is looked at by who sells: see event_quiet.';
