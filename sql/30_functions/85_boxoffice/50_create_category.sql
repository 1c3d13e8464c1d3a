CREATE FUNCTION boxoffice.create_category(slug text, name text)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.create_category IS
'Make a category of events; returns its id. Errors: 23505 unique_violation, 23514 check_violation.';
