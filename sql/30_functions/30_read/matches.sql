CREATE FUNCTION usher.matches(pattern text, type text)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'usher_matches';
COMMENT ON FUNCTION usher.matches IS
'Whether an event type matches a pattern: globs over dot-separated segments; * stands for any characters within one segment, ** for any number of segments, a lone * for everything. Error: US006 for a pattern or a type that cannot be one (empty, longer than 255 bytes, with a control character).';
