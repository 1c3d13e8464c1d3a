CREATE FUNCTION boxoffice.create_zone(show bigint, name text, capacity bigint, numbered boolean DEFAULT false)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.create_zone IS
'Make a zone of a show; returns its id. numbered: its capacity is that of the seats that boxoffice.add_seats gives it, and must be 0 here. Event zone.created on stream zone-<id>. Errors: US034 unknown_show, US018 invalid_argument.';
