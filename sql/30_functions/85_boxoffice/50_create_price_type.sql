CREATE FUNCTION boxoffice.create_price_type(zone bigint, name text, unit_price bigint, tax_bp integer DEFAULT 0, fee_bp integer DEFAULT 0, ordinal integer DEFAULT 0)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.create_price_type IS
'Make a price of a zone, in minor units of the event''s currency; returns its id. tax_bp, fee_bp: on top, in basis points. ordinal: the lowest is what boxoffice.reserve takes by itself. Event zone.priced on stream zone-<id>. Errors: US034 unknown_show, 23514 check_violation.';
