CREATE FUNCTION boxoffice.end_bookings(tenants integer[], ids uuid[], status text, reason text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_end_bookings';
COMMENT ON FUNCTION boxoffice.end_bookings IS
'Internal: bookings that hold places, and are locked, become expired or cancelled; each an event. reason null: it stays.';
