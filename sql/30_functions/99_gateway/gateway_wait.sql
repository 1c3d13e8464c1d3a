CREATE PROCEDURE usher.gateway_wait("position" bigint, timeout interval, INOUT stable bigint DEFAULT NULL, INOUT signals bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_gateway_wait';
COMMENT ON PROCEDURE usher.gateway_wait IS
'Wait until the stable position is beyond position, whichever tenant''s event it is, or the last signal has another number than signals (null: signals are of no interest), or the timeout is over; stable and signals are what they are then. Holds no snapshot while it waits. Cannot run inside a transaction block (2D000). Errors: US018. For usher_gateway.';
