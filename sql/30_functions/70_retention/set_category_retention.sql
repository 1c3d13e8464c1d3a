CREATE FUNCTION usher.set_category_retention(category text, max_age interval DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT usher.check_name(set_category_retention.category, 'category');
    INSERT INTO usher.category_retention (tenant_id, category, max_age)
    VALUES (usher.current_tenant(), set_category_retention.category, set_category_retention.max_age)
    ON CONFLICT (tenant_id, category) DO UPDATE SET max_age = EXCLUDED.max_age;
END;
COMMENT ON FUNCTION usher.set_category_retention IS
'Keep the events of a category beyond the retention of the log, until max_age (null: for ever): partitions that would go are rewritten with them. Delete the row of usher.category_retention to end it. Error: US006 invalid_name.';
