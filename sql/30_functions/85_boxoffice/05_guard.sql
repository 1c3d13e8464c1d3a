CREATE FUNCTION boxoffice.guard()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'usher_boxoffice_guard';
COMMENT ON FUNCTION boxoffice.guard IS
'Internal: tables of the box office are changed by its functions, or copied into by who restores a dump. With an argument: every session reads the configuration anew. Error: US041 direct_change.';
