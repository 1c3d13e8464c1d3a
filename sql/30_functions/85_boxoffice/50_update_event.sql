CREATE FUNCTION boxoffice.update_event(event bigint, title text DEFAULT NULL, description text DEFAULT NULL, venue text DEFAULT NULL, organiser text DEFAULT NULL, category bigint DEFAULT NULL, user_limit integer DEFAULT NULL, sale_from timestamptz DEFAULT NULL, sale_until timestamptz DEFAULT NULL, max_expired_holds integer DEFAULT NULL, clear text[] DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.update_event IS
'Change what is given of an event; null: it stays. clear: names of arguments that have no value from now on (category, user_limit, sale_from, sale_until, max_expired_holds). (Its currency cannot be changed.) Event event.updated on stream event-<id>. Errors: US018 invalid_argument, US034 unknown_show, US037 wrong_state of one that is cancelled or ended, 23514 check_violation.';
