CREATE FUNCTION usher.aggregate(stream text, reducer regprocedure, initial jsonb DEFAULT NULL, until_version bigint DEFAULT NULL)
RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_aggregate';
COMMENT ON FUNCTION usher.aggregate IS
'Fold a stream: reducer(state jsonb, event usher.event) returns the next state, beginning with initial, up to until_version (null: all, this transaction''s pending events included). Keeps a snapshot in usher.snapshots after usher.snapshot_every further events and starts from it next time, as long as the calling role, the reducer''s body and initial are the same. A reducer must depend on its arguments alone.';
