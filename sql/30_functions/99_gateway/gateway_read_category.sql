CREATE FUNCTION usher.gateway_read_category(tenant_name text, category text, after bigint DEFAULT 0, max integer DEFAULT 100)
RETURNS TABLE (more boolean, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text,
               key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_gateway_read_category';
COMMENT ON FUNCTION usher.gateway_read_category IS
'usher.read_category for a tenant by its name; max, more and the page''s size as for usher.gateway_read_stream. Errors: US004 position_gone, US006, US010 unknown_tenant, US012, US018. For usher_gateway.';
