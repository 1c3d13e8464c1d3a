CREATE FUNCTION boxoffice.reserve_items(show bigint, user_id text, items boxoffice.reserve_item[], idempotency_key text DEFAULT NULL, ttl interval DEFAULT '10 minutes')
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_reserve_items';
COMMENT ON FUNCTION boxoffice.reserve_items IS
'boxoffice.reserve for 1 to 20 items of one show, all or nothing. Errors as boxoffice.reserve.';
