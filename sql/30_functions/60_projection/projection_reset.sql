CREATE FUNCTION usher.projection_reset(projection_id integer)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_projection_reset';
COMMENT ON FUNCTION usher.projection_reset IS
'Internal, for usher.rebuild: run the projection''s reset function as its owner.';
