-- (In the order that leaves no gaps between columns; bookings are inserted by C, which knows it, and the predicates of their indexes.)
CREATE TABLE boxoffice.bookings (
    tenant_id       integer NOT NULL,
    quantity        integer NOT NULL,
    booking_id      uuid NOT NULL,
    event_id        bigint NOT NULL,
    show_id         bigint NOT NULL,
    total           bigint NOT NULL,
    tax             bigint NOT NULL,
    fee             bigint NOT NULL,
    refund_due      bigint NOT NULL,
    fingerprint     bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    status          text COLLATE "C" NOT NULL,
    currency        text COLLATE "C" NOT NULL,
    code            text COLLATE "C" NOT NULL,
    user_id         text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C",
    payment_ref     text COLLATE "C",
    provider_ref    text COLLATE "C",
    reason          text,
    CONSTRAINT bookings_pkey PRIMARY KEY (tenant_id, booking_id)
);
-- With the event: what a user has of other events is not read when his next booking is.
CREATE UNIQUE INDEX bookings_user ON boxoffice.bookings (tenant_id, user_id, idempotency_key) INCLUDE (event_id);
CREATE INDEX bookings_show ON boxoffice.bookings (tenant_id, show_id);
CREATE INDEX bookings_expiry ON boxoffice.bookings (expires_at) WHERE status IN ('reserved', 'payment_pending');
CREATE INDEX bookings_refunds ON boxoffice.bookings (tenant_id, booking_id) WHERE refund_due > 0;
COMMENT ON TABLE boxoffice.bookings IS
'Places that a user holds or has bought. Its history is the stream booking-<id>. Amounts in minor units of the currency; total is the sum of its items that are not cancelled. Written by functions of boxoffice only.';
