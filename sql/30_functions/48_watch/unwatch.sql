CREATE FUNCTION usher.unwatch("table" regclass)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_unwatch';
COMMENT ON FUNCTION usher.unwatch IS
'End what usher.watch began; the events stay. For the table''s owner. Errors: US018 when the table is not watched, 42501 not the owner.';
