CREATE TABLE usher.retention (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    max_age   interval CHECK (max_age > interval '0' AND max_age <= interval '1000 years'),
    max_bytes bigint CHECK (max_bytes > 0),
    archive   text
);
COMMENT ON TABLE usher.retention IS
'The log''s retention, off while there is no row: age and size beyond which whole partitions go; archive(from_position, to_position) is called before, in the same transaction.';

CREATE TABLE usher.category_retention (
    tenant_id integer NOT NULL,
    category  text COLLATE "C" NOT NULL,
    max_age   interval CHECK (max_age > interval '0' AND max_age <= interval '1000 years'),
    PRIMARY KEY (tenant_id, category)
);
COMMENT ON TABLE usher.category_retention IS
'Categories that outlive the log''s retention: kept until max_age, or for ever when it is null.';

CREATE TABLE usher.log_removals (
    from_position bigint PRIMARY KEY,
    to_position   bigint NOT NULL,
    kept          text[] COLLATE "C" NOT NULL,
    removed_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usher.log_removals IS
'Partitions (first and last position) that retention has rewritten with the survivors of some categories, or removed behind such a one; kept: the categories that have lost nothing there, as tenant_id:category.';

CREATE TABLE usher.removal_requests (
    before       bigint NOT NULL,
    force        boolean NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usher.removal_requests IS 'What the housekeeping worker has been asked to remove and has not removed yet.';

CREATE TABLE usher.holds (
    name       text COLLATE "C" PRIMARY KEY,
    position   bigint NOT NULL CHECK (position >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usher.holds IS 'Cursors that retention must not pass: events behind `position` are still needed.';
