CREATE FUNCTION usher.revoke(kind text, id text, not_before timestamptz DEFAULT now())
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'usher_revoke';
COMMENT ON FUNCTION usher.revoke IS
'Refuse what the HTTP gateway''s tokens were issued for before not_before, in the session''s tenant: kind is session, user (id: the token''s subject), key (an API key''s name) or tenant (id: its own name). Appends an event usher.revoked to stream usher.revocations, which the gateways read at once, and again when they start: the log must keep it for as long as tokens live. Returns the event''s version. For usher_admin; who may revoke in the tenants that it may use can be granted EXECUTE. Errors: US006, US018.';
