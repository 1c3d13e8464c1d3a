CREATE FUNCTION usher.once_done(key text, response jsonb)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_once_done';
COMMENT ON FUNCTION usher.once_done IS
'Keep the response of a request for which usher.once said fresh, in this transaction or in one before. response: any JSON value or null, at most usher.max_event_size. Errors: US006 invalid_name, US008 event_too_large, US018 invalid_argument (no living key of this name), US025 idempotency_conflict (the key has another response already).';
