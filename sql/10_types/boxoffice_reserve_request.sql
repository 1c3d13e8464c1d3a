CREATE TYPE boxoffice.reserve_request AS (
    tenant          text,
    user_id         text,
    show_id         bigint,
    items           boxoffice.reserve_item[],
    idempotency_key text,
    ttl             interval,
    metadata        jsonb
);
COMMENT ON TYPE boxoffice.reserve_request IS
'One request of boxoffice.reserve_many. ttl null: 10 minutes; metadata: of its event, null: empty.';
