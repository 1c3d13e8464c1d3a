CREATE FUNCTION usher.read_signals(after bigint DEFAULT NULL, max integer DEFAULT 1000)
RETURNS TABLE (next bigint, lost bigint, number bigint, topic text, data json, sender text, sent_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'usher_read_signals';
COMMENT ON FUNCTION usher.read_signals IS
'The signals of the session''s tenant behind a number (null: all that are still there), in order: at most max (1 to 10,000). The same in each row: next, the number to go on after; lost, how many signals of the database (of all tenants) behind after were there no more, null when that is not known, because the server was started since or after is another server''s. sender is the user of the HTTP gateway who has sent it, null when it was sent by SQL. Without signals one row with next and lost alone. On a standby there are none. Wait for more with usher.wait_for_signal. Errors: US018.';
