# test/chaos/tokens.py: JSON Web Tokens with an HMAC, signed without a library; also for bench/.
import base64
import hashlib
import hmac
import json
import time

AUDIENCE, ISSUER, KEY_ID = "usherd", "test", "test"
ALL_SCOPES = "log:read log:append subscribe subscriptions sinks dead-letters admin boxoffice"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header, claims, key):
    """A JWT with an HMAC: what we sign ourselves needs no library."""
    text = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return text + "." + base64url(hmac.new(key, text.encode(), hashlib.sha256).digest())


def keys(key):
    """The JWKS file's text."""
    return json.dumps({"keys": [{"kty": "oct", "kid": KEY_ID, "alg": "HS256", "use": "sig", "k": base64url(key)}]})


def token(key, tenant="default", user="tester", scopes=ALL_SCOPES, **claims):
    """Valid for a day; a claim of None is left out."""
    now = int(time.time())
    claims = dict({"iss": ISSUER, "aud": AUDIENCE, "sub": user, "tenant": tenant, "scope": scopes, "iat": now,
                   "exp": now + 86400}, **claims)
    return signed({"alg": "HS256", "typ": "JWT", "kid": KEY_ID}, {k: v for k, v in claims.items() if v is not None}, key)
