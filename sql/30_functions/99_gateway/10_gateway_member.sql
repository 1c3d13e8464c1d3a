CREATE FUNCTION usher.gateway_member(user_id text, member text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM usher.check_name(member, 'member');
    RETURN encode(sha256(convert_to(length(coalesce(user_id, '')) || ':' || coalesce(user_id, '') || member, 'UTF8')), 'hex');
END
$$;
COMMENT ON FUNCTION usher.gateway_member IS
'Internal: the name under which a user''s member polls, so that members of two users are two. Error: US006 for a member that has no name.';
