CREATE FUNCTION usher.once(key text, fingerprint bytea, ttl interval DEFAULT '24 hours', wait boolean DEFAULT true,
    OUT fresh boolean, OUT response jsonb)
RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_once';
COMMENT ON FUNCTION usher.once IS
'Whether a request is to be carried out: fresh, then do the work and end with usher.once_done in the same transaction; not fresh, then response is what the first one got. key: the client''s Idempotency-Key, 1 to 255 bytes without control characters, one for the session''s tenant. fingerprint: a hash over what makes the request, 0 to 64 bytes; it must be the same in every repeat. ttl: how long the key is remembered, above 0 and at most 7 days. wait: for the end of a transaction that has the same key (lock_timeout counts); false raises US027 instead. Errors: US006 invalid_name, US018 invalid_argument, US025 idempotency_conflict (other fingerprint), US027 request_in_progress (a transaction committed without usher.once_done less than usher.once_timeout ago; or wait is false and one that has the key is open).';
