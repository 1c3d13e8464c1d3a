-- Which subscriptions the pool of workers polls, and what it calls. No foreign key: a parallel pg_restore fills the
-- tables side by side. A trigger cascades instead.
CREATE TABLE usher.handlers (
    subscription_id integer PRIMARY KEY,
    tenant_id       integer NOT NULL,
    handler         text NOT NULL,
    owner           regrole NOT NULL,
    timeout_ms      integer NOT NULL DEFAULT 30000 CHECK (timeout_ms BETWEEN 1 AND 86400000),
    restored        boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usher.handlers IS
'Handlers that run in the pool of workers: for each event of the subscription handler(usher.event) is called, as owner, for at most timeout_ms. restored: it comes from a dump, and waits for usher.resume_subscription. Change them with usher.handle and usher.unhandle.';
