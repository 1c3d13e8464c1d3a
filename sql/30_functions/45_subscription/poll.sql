CREATE FUNCTION usher.poll(subscription text, max integer DEFAULT 100, wait interval DEFAULT '0', member text DEFAULT NULL,
                           ack bigint DEFAULT NULL)
RETURNS SETOF usher.delivery
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_poll';
COMMENT ON FUNCTION usher.poll IS
'The next events of a subscription, at most max (1 to 10,000), under one lease over all partitions that they are of; no rows when there is nothing for us. Waits for events, at most 5 seconds (for longer: CALL usher.wait_for_delivery). member null: the lease is this session''s, and ends with it; a name: it ends by its time (30 s, usher.extend). ack acknowledges an earlier lease whole, in the same transaction. The partitions are shared by all who poll; events of one key come in order, to one poller at a time. A lease taken in a transaction that rolls back is given back. Errors: US003 unknown_subscription, US004 position_gone, US012 isolation_level, US018, US026 lease_lost (of ack).';
