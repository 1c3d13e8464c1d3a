CREATE FUNCTION usher.projection_barrier(projection_id integer, exclusive boolean)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_projection_barrier';
COMMENT ON FUNCTION usher.projection_barrier IS
'Internal, for usher.rebuild: wait until no transaction is left that ran the projection inline; exclusive: and keep new ones waiting until this transaction ends.';
