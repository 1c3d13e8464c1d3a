CREATE TYPE boxoffice.booking AS (
    booking_id   uuid,
    code         text,
    status       text,
    event_id     bigint,
    show_id      bigint,
    user_id      text,
    quantity     integer,
    currency     text,
    total        bigint,
    tax          bigint,
    fee          bigint,
    refund_due   bigint,
    items        jsonb,
    payment_ref  text,
    provider_ref text,
    reason       text,
    created_at   timestamptz,
    updated_at   timestamptz,
    expires_at   timestamptz
);
COMMENT ON TYPE boxoffice.booking IS
'A booking with its items, an array of {item, zone, price_type, quantity, unit_price, tax, fee, seats, cancelled}. Amounts in minor units of the currency.';
