CREATE FUNCTION usher.check_projection_owner()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pg_has_role(current_user, NEW.owner, 'MEMBER') THEN
        RAISE EXCEPTION 'must be a member of role "%" to let a projection run as it', NEW.owner USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION usher.check_projection_owner IS
'Internal: what runs as a role is decided by its members alone, also when the table is edited by hand. Error: 42501.';

CREATE TRIGGER check_projection_owner
    BEFORE INSERT OR UPDATE OF tenant_id, pattern, handler, reset, owner ON usher.projections
    FOR EACH ROW EXECUTE FUNCTION usher.check_projection_owner();
