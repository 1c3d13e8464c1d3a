CREATE FUNCTION boxoffice.reserve_many(requests boxoffice.reserve_request[], tokens text[] DEFAULT NULL)
RETURNS SETOF boxoffice.reserve_result
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_reserve_many';
COMMENT ON FUNCTION boxoffice.reserve_many IS
'boxoffice.reserve_items for up to 500 requests, each with its own tenant, user and outcome, in one transaction: one row for each, in their order. A request that is refused has the SQLSTATE that boxoffice.reserve would raise. An error ends the whole call; if it came up in one request alone, its context has "reserve_many element N", from 0. tokens: of each request what its client brings for the function that usher.before_reserve names. For usher_gateway, which may act for every tenant and user. Errors: US012 isolation_level, US018 invalid_argument for more requests.';
