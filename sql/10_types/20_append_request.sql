CREATE TYPE usher.append_request AS (
    tenant          text,
    user_id         text,
    actor_type      text,
    idempotency_key text,
    fingerprint     bytea,
    correlation_id  text,
    causation_id    text,
    traceparent     text,
    events          usher.request_event[]
);
COMMENT ON TYPE usher.append_request IS
'One client''s request of usher.append_requests: its events are appended all or none. user_id and actor_type become the actor in metadata, whatever the events'' own metadata say of it; empty or null: nobody. fingerprint: a hash of the request, at most 64 bytes, required with an idempotency_key. correlation_id, causation_id, traceparent fill metadata that lacks them.';
