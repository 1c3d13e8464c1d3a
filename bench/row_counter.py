# bench/row_counter.py
# The usual way to sell places with PostgreSQL, as a peer: a row that everybody counts down, and the same two rows.
#
# The tables have the columns and indexes of boxoffice.bookings and of the log; there must be the extension to copy them from.
TABLES = """CREATE TABLE bookings (LIKE boxoffice.bookings INCLUDING INDEXES);
CREATE TABLE log (LIKE usher.log INCLUDING DEFAULTS);
CREATE SEQUENCE log_position;
ALTER TABLE log ALTER position SET DEFAULT nextval('log_position'), ALTER recorded_at SET DEFAULT clock_timestamp(), ALTER id SET DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX ON log (position);
CREATE UNIQUE INDEX ON log (tenant_id, stream, version) WHERE stream IS NOT NULL;
CREATE INDEX ON log (tenant_id, category_hash, position) WHERE stream IS NOT NULL;
CREATE TABLE zones (zone_id bigint PRIMARY KEY, available bigint);
INSERT INTO zones VALUES (1, 100000000)"""
ROWS = """WITH b AS (INSERT INTO bookings (tenant_id, quantity, booking_id, event_id, show_id, total, tax, fee, refund_due, fingerprint, created_at,
        updated_at, expires_at, status, currency, code, user_id)
    VALUES (1, 1, gen_random_uuid(), 1, 1, 3099, 485, 64, 0, 0, now(), now(), now() + interval '10 minutes', 'reserved', 'EUR', 'ABCDEFGHJKMN', 'user-' || :u)
    RETURNING *)
INSERT INTO log (tenant_id, slot, flags, category_hash, version, stream, category, type, data, metadata)
SELECT 1, 7, 0, 7, 1, 'booking-' || booking_id, 'booking', 'booking.reserved', jsonb_build_object('fee', fee, 'tax', tax, 'show', show_id, 'user', user_id,
    'event', event_id, 'items', '[{"fee": 64, "tax": 485, "item": 1, "zone": 1, "quantity": 1, "price_type": 1, "unit_price": 2550}]'::jsonb, 'total', total,
    'status', status, 'booking', booking_id, 'currency', currency, 'quantity', quantity, 'created_at', created_at, 'expires_at', expires_at), '{}' FROM b;
"""


def user(users):
    return f"\\set u random(1, {users})\n"


def rows(users):
    """A script of pgbench: the rows of a booking and its event, nothing else."""
    return user(users) + ROWS


def sale(users):
    """A script of pgbench: one place, in one transaction; everybody waits for the row, and for the commit of who has it."""
    return f"{user(users)}BEGIN;\nUPDATE zones SET available = available - 1 WHERE zone_id = 1 AND available >= 1;\n{ROWS}COMMIT;\n"
