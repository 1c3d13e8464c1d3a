CREATE FUNCTION usher.nack(subscription text, lease bigint, "position" bigint, error text DEFAULT NULL, retry_after interval DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_nack';
COMMENT ON FUNCTION usher.nack IS
'Set one event of a lease aside: it failed. Its key is parked: this event and the later ones of the same key (leave them out when they are in the same batch) are delivered again after retry_after, or by the subscription''s backoff, while all other keys go on. After max_attempts it becomes a dead letter (usher.dead_letters), and the key goes on behind it, or is held. The lease stays. Errors: US003, US018 for an event that the lease has not delivered, US026 lease_lost.';
