CREATE PROCEDURE usher.wait_for_delivery(subscription text, timeout interval, INOUT ready boolean DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_wait_for_delivery';
COMMENT ON PROCEDURE usher.wait_for_delivery IS
'Wait until usher.poll would deliver something (ready is true), or the timeout is over (false), without holding a snapshot. What this session has under lease counts, as it would be given up: acknowledge first. Cannot run inside a transaction block. Errors: US003 unknown_subscription, US018, 2D000.';
