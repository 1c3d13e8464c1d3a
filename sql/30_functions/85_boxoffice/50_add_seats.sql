CREATE FUNCTION boxoffice.add_seats(zone bigint, row_name text, row_rank integer, first integer, last integer, accessible integer[] DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_boxoffice_call';
COMMENT ON FUNCTION boxoffice.add_seats IS
'Add the seats first to last of a row to a numbered zone, and their places to its capacity; returns how many. Labels are the row''s name and the number. row_rank: the best row has the lowest. Seats whose numbers follow each other stand beside each other; leave a number out where an aisle is. accessible: numbers of accessible seats. Event zone.seats_added on stream zone-<id>. Errors: US034 unknown_show, US018 invalid_argument, 23505 unique_violation.';
