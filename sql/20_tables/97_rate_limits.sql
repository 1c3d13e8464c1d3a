CREATE TABLE usher.rate_limits (
    tenant_id  integer NOT NULL,
    class      text COLLATE "C" NOT NULL,
    per_minute integer NOT NULL CHECK (per_minute > 0),
    burst      integer NOT NULL CHECK (burst > 0),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, class)
);
COMMENT ON TABLE usher.rate_limits IS
'Rate limits of tenants that differ from the HTTP gateway''s configuration: requests a minute of a class, and how many may come at once. Change them with usher.set_rate_limit.';
