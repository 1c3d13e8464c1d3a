CREATE FUNCTION usher.gateway_box_booking(tenant_name text, owner text, booking uuid)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant integer := usher.gateway_tenant(tenant_name);
BEGIN
    PERFORM boxoffice.do_booking(tenant, booking, owner);
    RETURN usher.box_booking_json(tenant, booking);
END
$$;
COMMENT ON FUNCTION usher.gateway_box_booking IS
'A booking as JSON. owner: whose it must be; null: anybody''s. Errors: US010 unknown_tenant, US038 unknown_booking. For usher_gateway.';
