CREATE FUNCTION usher.ack(subscription text, lease bigint, up_to bigint DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_ack';
COMMENT ON FUNCTION usher.ack IS
'Acknowledge everything that a lease delivered, and give it back; with up_to only the events at or below that position, and keep the rest. Takes effect with the commit: in the transaction of what was done with the events it makes that exactly once. Until the transaction ends nobody is given these partitions. Errors: US003 unknown_subscription, US026 lease_lost: roll back.';
