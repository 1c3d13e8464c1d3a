CREATE FUNCTION usher.once_many(keys text[], fingerprints bytea[], ttl interval DEFAULT '24 hours', wait boolean DEFAULT true)
RETURNS TABLE (n integer, state text, response jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_once_many';
COMMENT ON FUNCTION usher.once_many IS
'usher.once for many requests at a time, one row each in their order (n: 1, 2, 3 ...). state: fresh; done, with its response; conflict, where usher.once raises US025; in_progress, where it raises US027, or the key stands before in the same call or, with wait false, in a transaction that is still open. Keys are locked in the order of their hashes, so that calls do not deadlock with each other. Errors: US006 invalid_name, US018 invalid_argument.';
