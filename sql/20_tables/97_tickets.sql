-- Tickets of clients that cannot send headers. What they stand for is here, so any gateway of the database takes them.
CREATE TABLE usher.tickets (
    tenant_id        integer NOT NULL,
    hash             bytea NOT NULL CONSTRAINT tickets_pkey PRIMARY KEY CHECK (length(hash) = 32),
    kind             text NOT NULL CHECK (kind IN ('websocket', 'sse')),
    user_id          text NOT NULL,
    session          text NOT NULL,
    actor_type       text NOT NULL,
    is_key           boolean NOT NULL,
    rate_class       text NOT NULL,
    roles            text NOT NULL,
    scopes           text NOT NULL,
    issued_at        bigint NOT NULL,
    token_expires_at bigint NOT NULL,
    expires_at       timestamptz NOT NULL
);
CREATE INDEX tickets_expires_at_idx ON usher.tickets (expires_at);
COMMENT ON TABLE usher.tickets IS
'What the tickets of the HTTP gateway stand for: tenant, user, session, roles and scopes of the token or key that they were asked for with, and its times in seconds since 1970 (0: none). hash: SHA-256 of the ticket, which is kept nowhere. A row goes with the use of a ticket for WebSocket, and some time after expires_at. For usher.gateway_issue_ticket and gateway_use_ticket alone; not dumped.';
