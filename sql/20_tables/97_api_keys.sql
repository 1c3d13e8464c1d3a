-- Keys of services for the HTTP gateway. The secret has 256 random bits, so its hash needs neither salt nor work.
CREATE TABLE usher.api_keys (
    tenant_id  integer NOT NULL,
    name       text COLLATE "C" NOT NULL,
    hash       bytea NOT NULL CONSTRAINT api_keys_hash_key UNIQUE CHECK (length(hash) = 32),
    scopes     text[] NOT NULL,
    rate_class text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE usher.api_keys IS
'API keys of services. hash: SHA-256 of the secret, which is kept nowhere. scopes: what the key may do, e.g. log:read, log:append:order. rate_class: the class of its rate limit. Change them with usher.create_api_key, drop_api_key.';
