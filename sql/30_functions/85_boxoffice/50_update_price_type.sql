CREATE FUNCTION boxoffice.update_price_type(price_type bigint, name text DEFAULT NULL, unit_price bigint DEFAULT NULL, tax_bp integer DEFAULT NULL, fee_bp integer DEFAULT NULL, ordinal integer DEFAULT NULL, active boolean DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.update_price_type IS
'Change what is given of a price; null: it stays. active false: nothing is sold at it any more. Bookings keep what they were made with. Event zone.priced on stream zone-<id>. Errors: US034 unknown_show, 23514 check_violation.';
