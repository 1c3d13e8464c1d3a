CREATE FUNCTION boxoffice.best_available(show bigint, zone bigint, user_id text, quantity integer, accessible boolean DEFAULT false, split boolean DEFAULT false, idempotency_key text DEFAULT NULL, ttl interval DEFAULT '10 minutes', price_type bigint DEFAULT NULL)
RETURNS boxoffice.booking
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_best_available';
COMMENT ON FUNCTION boxoffice.best_available IS
'Hold the best run of adjacent seats of a numbered zone: by the rank of the row, then nearest to its centre, leaving no single empty seat if that can be avoided. accessible: only accessible seats; split: several runs when there is no single one. Errors as boxoffice.reserve; US033 seat_taken when there is no such run; US018 invalid_argument for accessible ones of a zone that is not numbered.';
