CREATE TABLE boxoffice.booking_items (
    tenant_id     integer NOT NULL,
    quantity      integer NOT NULL,
    item          integer NOT NULL,
    booking_id    uuid NOT NULL,
    zone_id       bigint NOT NULL,
    price_type_id bigint NOT NULL,
    unit_price    bigint NOT NULL,
    tax           bigint NOT NULL,
    fee           bigint NOT NULL,
    cancelled     boolean NOT NULL,
    seats         text[] COLLATE "C",
    CONSTRAINT booking_items_pkey PRIMARY KEY (tenant_id, booking_id, item)
);
COMMENT ON TABLE boxoffice.booking_items IS
'Parts of a booking. tax and fee are of the whole item, rounded half to even once. An item holds places while its booking is reserved, payment_pending or confirmed, and it is not cancelled. Written by functions of boxoffice only.';
