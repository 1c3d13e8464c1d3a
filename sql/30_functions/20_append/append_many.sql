CREATE FUNCTION usher.append_many(streams text[], types text[], data text[], metadata text[] DEFAULT NULL, event_ids uuid[] DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_append_many';
COMMENT ON FUNCTION usher.append_many IS
'Append many events to many streams, whatever their versions; element n of each array belongs to event n. data and metadata are JSON texts of objects. Streams are locked in the order of their names, so that bulk appenders do not deadlock. Returns how many events were appended: all of them, or 0 when the call repeats one with the same ids. Errors as usher.append, US018 invalid_argument for arrays of different length.';
