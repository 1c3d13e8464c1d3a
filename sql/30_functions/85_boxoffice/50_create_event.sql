CREATE FUNCTION boxoffice.create_event(title text, currency text, category bigint DEFAULT NULL, description text DEFAULT '', venue text DEFAULT '', organiser text DEFAULT '', user_limit integer DEFAULT NULL, sale_from timestamptz DEFAULT NULL, sale_until timestamptz DEFAULT NULL, max_expired_holds integer DEFAULT 3)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.create_event IS
'Make an event, a draft; returns its id. currency: ISO 4217, of all its prices. user_limit: places that a user can hold and own; max_expired_holds: reservations that a user may let expire in half an hour; null: no limit. Event event.created on stream event-<id>. Errors: US018 invalid_argument, 23514 check_violation.';
