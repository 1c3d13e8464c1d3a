CREATE FUNCTION usher.extend(subscription text, lease bigint, "interval" interval DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_extend';
COMMENT ON FUNCTION usher.extend IS
'Let a named member''s lease end only after so much time from now (null: the subscription''s lease time); at once, whatever becomes of this transaction. A session''s own lease needs no extension. Errors: US003, US018, US026 lease_lost.';
