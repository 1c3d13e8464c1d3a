CREATE FUNCTION usher.read_stream(stream text, from_version bigint DEFAULT 1, max integer DEFAULT 1000, backwards boolean DEFAULT false, before bigint DEFAULT NULL)
RETURNS setof usher.event
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_read_stream_srf';
COMMENT ON FUNCTION usher.read_stream IS
'Events of a stream with from_version <= version < before (null: no end), at most max, oldest first, or newest first when backwards; page backwards by giving the last version seen as before. Includes this transaction''s pending events (position null). Hides what delete_stream and set_stream_limits hide. An unknown stream has no rows.';
