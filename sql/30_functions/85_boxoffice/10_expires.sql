CREATE FUNCTION boxoffice.expires(at timestamptz)
RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_expires';
COMMENT ON FUNCTION boxoffice.expires IS
'Internal: the worker is told, once this transaction has committed, that a booking expires then.';
