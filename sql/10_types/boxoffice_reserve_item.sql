CREATE TYPE boxoffice.reserve_item AS (
    zone_id       bigint,
    price_type_id bigint,
    quantity      integer,
    seats         text[],
    accessible    boolean,
    split         boolean
);
COMMENT ON TYPE boxoffice.reserve_item IS
'One item of a reservation. price_type_id null: the first of the zone. seats: labels, of a numbered zone, as many as the quantity; null: the best ones beside each other; with accessible only accessible ones, and with split several runs when there is no single one (null: false).';
