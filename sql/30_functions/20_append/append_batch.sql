CREATE FUNCTION usher.append_batch(stream text, events usher.new_event[], expected_version bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_append_batch';
COMMENT ON FUNCTION usher.append_batch IS
'Append several events to one stream; returns the version of the last one. expected_version as in usher.append, for the first one. A batch whose given ids have all been appended before is a repeat and returns the original version; a partial repeat is an error (US005). Errors as usher.append.';
