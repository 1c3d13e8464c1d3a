CREATE FUNCTION usher.projection_call(projection_id integer, after bigint, upto bigint, max integer)
RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_projection_call';
COMMENT ON FUNCTION usher.projection_call IS
'Internal, for usher.rebuild: run the projection''s handler over at most max events in (after, upto]; returns how far it has read.';
