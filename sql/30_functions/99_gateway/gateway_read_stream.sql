CREATE FUNCTION usher.gateway_read_stream(tenant_name text, stream_name text, from_version bigint DEFAULT 1, max integer DEFAULT 100,
                                          backwards boolean DEFAULT false, before bigint DEFAULT NULL)
RETURNS TABLE (more boolean, "position" bigint, tenant text, stream text, version bigint, id uuid, type text, topic text,
               key text, slot integer, data jsonb, metadata jsonb, recorded_at timestamptz)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'usher_gateway_read_stream';
COMMENT ON FUNCTION usher.gateway_read_stream IS
'usher.read_stream for a tenant by its name: at most max events (1 to 10,000), and not more than the first that brings their data and metadata to 1 MB; more says in each row whether there are others behind the last. Errors: US006, US010 unknown_tenant, US018. For usher_gateway.';
