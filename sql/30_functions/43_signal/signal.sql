CREATE FUNCTION usher.signal(topic text, data jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_signal';
COMMENT ON FUNCTION usher.signal IS
'Send a signal to a topic of the session''s tenant: to who reads usher.read_signals, and to the HTTP gateway''s clients that have joined the topic. It is kept in memory only, until newer ones take its place (usher.signal_buffer: when it is full, those go that are older than a minute, and then the oldest of the tenants that have more than their share of it), and is sent at once, also when the transaction rolls back. data: at most 8,000 bytes as text. Returns its number, which rises from signal to signal. Errors: US006 for a topic that is no name or begins with "usher.", US008, US018, 25006 on a standby.';
