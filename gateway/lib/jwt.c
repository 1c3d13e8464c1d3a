/*
 * gateway/lib/jwt.c
 *	  Verifies tokens: form, header, key, signature, claims, in that order.
 *
 * An HMAC is computed here, with a context that the key keeps; signatures are
 * libcjose's.  What libcjose does not look at is looked at here: strict base64url
 * (one token has one text, as the cache is keyed by it), a signature's exact
 * length (a libcjose of this version ignores bytes behind an ES256 signature),
 * members that stand twice, and every claim.  Header and claims are read where
 * they lie, without a tree.
 *
 * OpenSSL's queue of errors is emptied on every way out, because TLS connections
 * of the same thread would take what is left in it for their own.
 */
#include "jwt.h"

#include <math.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base64url.h"
#include "json_check.h"

#define DEPTH_MAX 32 /* of arrays and objects in a header or in claims */

/* A token's parts as bytes.  The header's and the claims' end in a zero byte. */
typedef struct Parts
{
	unsigned char header[JWT_BYTES_MAX], claims[JWT_BYTES_MAX], signature[JWT_BYTES_MAX];
	size_t header_len, claims_len, signature_len;
	size_t signed_len; /* of the token: what stands in front of the second dot */
} Parts;

/* The claims that are looked at, and the texts in them. */
enum
{
	CLAIM_EXP,
	CLAIM_NBF,
	CLAIM_IAT,
	CLAIM_ISS,
	CLAIM_AUD,
	CLAIM_SUB,
	CLAIM_SID,
	CLAIM_ACTOR_TYPE,
	CLAIM_SCOPE,
	CLAIM_SCOPES,
	CLAIM_ROLES,
	CLAIM_TENANT, /* whatever its name */
	CLAIMS
};

typedef struct Claims
{
	JsonValue values[CLAIMS];
	char texts[2 * JWT_BYTES_MAX]; /* each text once, and the tenant's maybe twice */
	size_t used;
} Claims;

static bool
refuse(const char **reason, const char *why)
{
	*reason = why;
	return false;
}

static bool
decode(const char *text, size_t len, unsigned char *bytes, size_t *bytes_len)
{
	if (len == 0 || !base64url_decode(text, len, bytes, bytes_len))
		return false;
	bytes[*bytes_len] = '\0';
	return true;
}

/* Three parts of strict base64url, none of them empty, separated by the only two dots. */
static bool
split(const char *token, size_t len, Parts *parts)
{
	const char *end = token + len;
	const char *first = memchr(token, '.', len);
	const char *second = first ? memchr(first + 1, '.', (size_t) (end - first - 1)) : NULL;

	if (second == NULL || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
		return false;
	parts->signed_len = (size_t) (second - token);
	return decode(token, (size_t) (first - token), parts->header, &parts->header_len) &&
		   decode(first + 1, (size_t) (second - first - 1), parts->claims, &parts->claims_len) &&
		   decode(second + 1, (size_t) (end - second - 1), parts->signature, &parts->signature_len);
}

/* The members of these names, when it is an object in which no name stands twice, whatever the depth. */
static bool
read_object(const unsigned char *bytes, size_t len, const char *const *names, int count,
			JsonValue *values)
{
	JsonValue object, stranger;
	JsonFault fault;

	if (!json_check((const char *) bytes, len, DEPTH_MAX, &object, &fault) ||
		object.kind != JSON_OBJECT || !json_distinct(object))
		return false;
	(void) json_members(object, names, count, values, &stranger);
	return true;
}

/* A text, which ends in a zero byte then; false: it is none, or there is no room. */
static bool
take_text(JsonValue value, char *text, size_t room)
{
	if (value.kind != JSON_STRING || value.text.len > room)
		return false;
	text[json_unescape(value, text)] = '\0';
	return true;
}

/*
 * The header
 */

enum
{
	HEADER_ALG,
	HEADER_KID,
	HEADER_TYP,
	HEADER_REFUSED /* and those behind it */
};

static const char *const header_names[] = {"alg", "kid", "typ", "crit", "jku", "jwk",
										   "x5u", "x5c", "cty", "enc",  "zip", "b64"};

#define HEADER_NAMES ((int) (sizeof(header_names) / sizeof(header_names[0])))

static bool
type_good(JsonValue typ)
{
	static const char *const types[] = {"jwt", "at+jwt", "application/at+jwt"};
	char text[64];

	if (typ.kind == JSON_NONE)
		return true;
	for (size_t i = 0; take_text(typ, text, sizeof(text)) && i < sizeof(types) / sizeof(types[0]);
		 i++)
		if (strcasecmp(text, types[i]) == 0)
			return true;
	return false;
}

/* Members of a header that would change what the token means, or where its key comes from. */
static bool
header_plain(const JsonValue *header, const char **reason)
{
	for (int i = HEADER_REFUSED; i < HEADER_NAMES; i++)
		if (header[i].kind != JSON_NONE)
			return refuse(reason,
						  "the token's header has a member that is not taken: crit, jku, jwk, "
						  "x5u, x5c, cty, enc, zip or b64");
	return type_good(header[HEADER_TYP]) || refuse(reason, "the token's typ is not JWT");
}

static const Key *
key_of(const KeySet *keys, const JsonValue *header, const char **reason)
{
	JsonValue kid = header[HEADER_KID];
	KeyAlgorithm algorithm = KEY_NO_ALGORITHM;
	char text[JWT_BYTES_MAX];
	const Key *key = NULL;

	if (take_text(header[HEADER_ALG], text, sizeof(text)))
		algorithm = keys_algorithm(text);
	if (algorithm == KEY_NO_ALGORITHM)
	{
		*reason = "the token's algorithm is none of HS256, RS256, ES256, PS256";
		return NULL;
	}
	if (kid.kind == JSON_NONE)
		key = keys_find(keys, NULL);
	else if (take_text(kid, text, sizeof(text)))
		key = keys_find(keys, text);
	if (key == NULL)
		*reason = kid.kind == JSON_NONE ? "the token names no key" : "the token's key is not known";
	else if (algorithm != key->algorithm)
	{
		*reason = "the token's algorithm is not that of its key";
		return NULL;
	}
	return key;
}

/*
 * The signature
 */

static bool
hmac_good(const Key *key, const char *token, const Parts *parts)
{
	unsigned char mac[KEYS_HS256_BYTES];
	size_t len = 0;

	return EVP_MAC_init(key->hmac, NULL, 0, NULL) == 1 &&
		   EVP_MAC_update(key->hmac, (const unsigned char *) token, parts->signed_len) == 1 &&
		   EVP_MAC_final(key->hmac, mac, &len, sizeof(mac)) == 1 && len == sizeof(mac) &&
		   CRYPTO_memcmp(mac, parts->signature, sizeof(mac)) == 0;
}

static bool
signature_good(const Key *key, const char *token, size_t len, const Parts *parts)
{
	cjose_jws_t *jws;
	bool good;

	if (parts->signature_len != key->signature_bytes)
		return false;
	if (key->algorithm == KEY_HS256)
		return hmac_good(key, token, parts);
	jws = cjose_jws_import(token, len, NULL);
	good = jws != NULL && cjose_jws_verify(jws, key->jwk, NULL);
	cjose_jws_release(jws);
	return good;
}

/*
 * The claims
 */

/* A point in time, rounded down or up to seconds.  Absent: 0.  false: it is none. */
static bool
time_of(JsonValue claim, bool up, int64_t *seconds)
{
	double number;

	*seconds = 0;
	if (claim.kind == JSON_NONE || json_int(claim, 0, JWT_TIME_MAX, seconds))
		return true;
	if (claim.kind != JSON_NUMBER)
		return false;
	number = strtod(claim.text.data, NULL); /* the claims end in a zero byte */
	number = up ? ceil(number) : floor(number);
	if (!(number >= 0 && number <= (double) JWT_TIME_MAX))
		return false;
	*seconds = (int64_t) number;
	return true;
}

bool
jwt_expired(int64_t expires_at, double skew, double now)
{
	return now >= (double) expires_at + skew;
}

static bool
times_good(const JsonValue *claims, const JwtRules *rules, double now, IdentityParts *parts,
		   const char **reason)
{
	int64_t exp, nbf, iat;

	if (!time_of(claims[CLAIM_EXP], false, &exp) || !time_of(claims[CLAIM_NBF], true, &nbf) ||
		!time_of(claims[CLAIM_IAT], false, &iat))
		return refuse(reason, "exp, nbf or iat of the token is no time");
	if (claims[CLAIM_EXP].kind == JSON_NONE)
		return refuse(reason, "the token never expires");
	if (jwt_expired(exp, rules->skew, now))
		return refuse(reason, "the token has expired");
	if (claims[CLAIM_NBF].kind != JSON_NONE && now + rules->skew < (double) nbf)
		return refuse(reason, "the token is not valid yet");
	if (claims[CLAIM_IAT].kind != JSON_NONE && now + rules->skew < (double) iat)
		return refuse(reason, "the token was issued in the future");
	parts->issued_at = iat;
	parts->expires_at = exp;
	return true;
}

static bool
audience_good(JsonValue aud, const char *audience, const char **reason)
{
	JsonWalk walk = json_walk(aud);
	JsonValue one;
	bool found = json_string_is(aud, audience);

	if (audience[0] == '\0')
		return aud.kind == JSON_NONE ||
			   refuse(reason, "the token is for an audience, and none is configured");
	if (aud.kind != JSON_NONE && aud.kind != JSON_STRING && aud.kind != JSON_ARRAY)
		return refuse(reason, "the token's aud is neither a text nor a list of texts");
	while (json_next(&walk, NULL, &one))
	{
		if (one.kind != JSON_STRING)
			return refuse(reason, "the token's aud is neither a text nor a list of texts");
		found = found || json_string_is(one, audience);
	}
	return found || refuse(reason, "the token is for another audience");
}

static bool
issuer_good(JsonValue iss, const char *issuer, const char **reason)
{
	return issuer[0] == '\0' || json_string_is(iss, issuer) ||
		   refuse(reason, "the token is of another issuer");
}

/* Its text lives as long as the claims; NULL: it is none. */
static const char *
claim_text(Claims *claims, JsonValue value)
{
	char *text = claims->texts + claims->used;

	if (!take_text(value, text, sizeof(claims->texts) - claims->used))
		return NULL;
	claims->used += strlen(text) + 1;
	return text;
}

/* A text of at most JWT_SUBJECT_MAX bytes; when it is missing, fallback (NULL: it must not be). */
static bool
text_of(Claims *claims, int claim, const char *fallback, const char **text)
{
	bool missing = claims->values[claim].kind == JSON_NONE;

	*text = missing ? fallback : claim_text(claims, claims->values[claim]);
	return *text != NULL && strlen(*text) <= JWT_SUBJECT_MAX && (missing || **text != '\0');
}

static bool
who_good(Claims *claims, const JwtRules *rules, IdentityParts *parts, const char **reason)
{
	const char *fallback = rules->default_tenant[0] != '\0' ? rules->default_tenant : NULL;

	if (!text_of(claims, CLAIM_TENANT, fallback, &parts->tenant) ||
		!identity_tenant_valid(parts->tenant, strlen(parts->tenant)))
		return refuse(reason, "the token names no tenant");
	if (!text_of(claims, CLAIM_SUB, NULL, &parts->user))
		return refuse(reason, "the token's sub is missing, empty or too long");
	if (!text_of(claims, CLAIM_SID, "", &parts->session))
		return refuse(reason, "the token's sid is no text, empty or too long");
	if (!text_of(claims, CLAIM_ACTOR_TYPE, "user", &parts->actor_type) ||
		(strcmp(parts->actor_type, "user") != 0 && strcmp(parts->actor_type, "service") != 0))
		return refuse(reason, "the token's actor_type is neither user nor service");
	return true;
}

/* Words in a text, or a list of words. */
static bool
words_of(Claims *claims, int claim, bool (*add)(IdentityParts *, const char *, size_t),
		 IdentityParts *parts)
{
	JsonValue value = claims->values[claim], one;
	JsonWalk walk = json_walk(value);
	const char *text;

	if (value.kind == JSON_NONE)
		return true;
	if (value.kind == JSON_STRING)
		return (text = claim_text(claims, value)) != NULL && add(parts, text, strlen(text));
	while (json_next(&walk, NULL, &one))
	{
		if ((text = claim_text(claims, one)) == NULL || strpbrk(text, " \t\r\n") != NULL ||
			!add(parts, text, strlen(text)))
			return false;
	}
	return value.kind == JSON_ARRAY;
}

static bool
rights_good(Claims *claims, IdentityParts *parts, const char **reason)
{
	if (!words_of(claims, CLAIM_SCOPE, identity_add_scopes, parts) ||
		!words_of(claims, CLAIM_SCOPES, identity_add_scopes, parts))
		return refuse(reason,
					  "the token's scope is neither words nor a list of words, or too many");
	if (!words_of(claims, CLAIM_ROLES, identity_add_roles, parts))
		return refuse(reason,
					  "the token's roles are neither words nor a list of words, or too many");
	return true;
}

static bool
read_claims(const Parts *token, const JwtRules *rules, Claims *claims)
{
	const char *names[CLAIMS] = {"exp", "nbf",        "iat",   "iss",    "aud",  "sub",
								 "sid", "actor_type", "scope", "scopes", "roles"};

	names[CLAIM_TENANT] = rules->tenant_claim;
	claims->used = 0;
	if (!read_object(token->claims, token->claims_len, names, CLAIMS, claims->values))
		return false;
	/* of a name that stands twice among them the first has the value */
	for (int i = 0; i < CLAIM_TENANT; i++)
		if (strcmp(names[i], rules->tenant_claim) == 0)
			claims->values[CLAIM_TENANT] = claims->values[i];
	return true;
}

static Identity *
identity_of_claims(const Parts *token, const JwtRules *rules, double now, const char **reason)
{
	Claims claims;
	const JsonValue *values = claims.values;
	IdentityParts parts;

	if (!read_claims(token, rules, &claims))
	{
		*reason = "the token's claims are no JSON object, or one stands twice";
		return NULL;
	}
	memset(&parts, 0, sizeof(parts));
	if (times_good(values, rules, now, &parts, reason) &&
		issuer_good(values[CLAIM_ISS], rules->issuer, reason) &&
		audience_good(values[CLAIM_AUD], rules->audience, reason) &&
		who_good(&claims, rules, &parts, reason) && rights_good(&claims, &parts, reason))
		return identity_make(&parts);
	return NULL;
}

Identity *
jwt_verify(const KeySet *keys, const JwtRules *rules, const char *token, size_t len, double now,
		   const char **reason)
{
	Identity *identity = NULL;
	JsonValue header[HEADER_NAMES];
	const Key *key;
	Parts parts;

	if (len > JWT_BYTES_MAX)
		*reason = "the token is too long";
	else if (!split(token, len, &parts))
		*reason = "the token is not three parts of base64url";
	else if (!read_object(parts.header, parts.header_len, header_names, HEADER_NAMES, header))
		*reason = "the token's header is no JSON object, or a member stands twice";
	else if (header_plain(header, reason) && (key = key_of(keys, header, reason)) != NULL)
	{
		if (signature_good(key, token, len, &parts))
			identity = identity_of_claims(&parts, rules, now, reason);
		else
			*reason = "the token's signature is wrong";
	}
	ERR_clear_error();
	return identity;
}
