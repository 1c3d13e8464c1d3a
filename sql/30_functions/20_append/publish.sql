CREATE FUNCTION usher.publish(topic text, key text, type text, data jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}', event_id uuid DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_publish';
COMMENT ON FUNCTION usher.publish IS
'Publish an event without a stream (transactional outbox): no version, no lock. Order is kept per key by whoever delivers it. Returns the id of the event. Errors as usher.append.';
