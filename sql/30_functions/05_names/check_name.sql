CREATE FUNCTION usher.check_name(name text, what text)
RETURNS void
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_check_name_sql';
COMMENT ON FUNCTION usher.check_name IS
'Internal: raise US006 invalid_name unless this is a name: not null, 1 to 255 bytes, without control characters. what says in the message of what.';
