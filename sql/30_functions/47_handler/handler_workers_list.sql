CREATE FUNCTION usher.handler_workers_list(OUT pid integer, OUT subscription_id integer, OUT "position" bigint,
                                           OUT running_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_handler_workers_list';
COMMENT ON FUNCTION usher.handler_workers_list IS
'Internal, for usher.handler_status: the workers of this database''s pool, and the event whose handler each runs for the session''s tenant.';
