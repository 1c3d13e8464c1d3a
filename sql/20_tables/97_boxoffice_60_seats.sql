CREATE TABLE boxoffice.seats (
    tenant_id  integer NOT NULL,
    zone_id    bigint NOT NULL,
    label      text COLLATE "C" NOT NULL CHECK (length(label) BETWEEN 1 AND 63),
    row_rank   integer NOT NULL,
    number     integer NOT NULL,
    accessible boolean NOT NULL DEFAULT false,
    booking_id uuid,
    CONSTRAINT seats_pkey PRIMARY KEY (tenant_id, zone_id, label),
    CONSTRAINT seats_place UNIQUE (tenant_id, zone_id, row_rank, number)
) WITH (fillfactor = 80);
COMMENT ON TABLE boxoffice.seats IS
'Seats of numbered zones. row_rank: the row, the best is the lowest; number: seats whose numbers follow each other stand beside each other. booking_id: who holds it. Written by functions of boxoffice only.';
