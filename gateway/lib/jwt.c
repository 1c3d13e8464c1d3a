/*
 * gateway/lib/jwt.c
 *	  Verifies tokens: form, header, key, signature, claims, in that order.
 *
 * What libcjose does not look at is looked at here: strict base64url (one token
 * has one text, as the cache is keyed by it), a signature's exact length (a
 * libcjose of this version ignores bytes behind an ES256 signature), members
 * that stand twice, and every claim.
 *
 * OpenSSL's queue of errors is emptied on every way out, because TLS connections
 * of the same thread would take what is left in it for their own.
 */
#include "jwt.h"

#include <math.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base64url.h"

typedef struct Parts
{
	const char *header, *payload, *signature;
	size_t header_len, payload_len, signature_len;
} Parts;

static bool
refuse(const char **reason, const char *why)
{
	*reason = why;
	return false;
}

/* Three parts, none of them empty, separated by the only two dots. */
static bool
split(const char *token, size_t len, Parts *parts)
{
	const char *end = token + len;
	const char *first = memchr(token, '.', len);
	const char *second = first ? memchr(first + 1, '.', (size_t) (end - first - 1)) : NULL;

	if (second == NULL || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
		return false;
	parts->header = token;
	parts->header_len = (size_t) (first - token);
	parts->payload = first + 1;
	parts->payload_len = (size_t) (second - first - 1);
	parts->signature = second + 1;
	parts->signature_len = (size_t) (end - second - 1);
	return parts->header_len > 0 && parts->payload_len > 0 && parts->signature_len > 0;
}

/* All parts are strict base64url.  The header's bytes remain in `header`. */
static bool
decode(const Parts *parts, unsigned char *header, size_t *header_len, size_t *signature_bytes)
{
	unsigned char scratch[JWT_BYTES_MAX];
	size_t len;

	return base64url_decode(parts->payload, parts->payload_len, scratch, &len) &&
		   base64url_decode(parts->signature, parts->signature_len, scratch, signature_bytes) &&
		   base64url_decode(parts->header, parts->header_len, header, header_len);
}

static bool
type_good(const json_t *header)
{
	const json_t *typ = json_object_get(header, "typ");
	const char *type = json_string_value(typ);

	if (typ == NULL)
		return true;
	return type != NULL && (strcasecmp(type, "JWT") == 0 || strcasecmp(type, "at+jwt") == 0 ||
							strcasecmp(type, "application/at+jwt") == 0);
}

/* Members of a header that would change what the token means, or where its key comes from. */
static bool
header_plain(const json_t *header, const char **reason)
{
	static const char *const refused[] = {"crit", "jku", "jwk", "x5u", "x5c",
										  "cty",  "enc", "zip", "b64"};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (json_object_get(header, refused[i]) != NULL)
			return refuse(reason,
						  "the token's header has a member that is not taken: crit, jku, jwk, "
						  "x5u, x5c, cty, enc, zip or b64");
	return type_good(header) || refuse(reason, "the token's typ is not JWT");
}

static const Key *
key_of(const KeySet *keys, const json_t *header, const char **reason)
{
	const json_t *kid = json_object_get(header, "kid");
	const char *algorithm = json_string_value(json_object_get(header, "alg"));
	const Key *key;

	if (algorithm == NULL || keys_algorithm(algorithm) == KEY_NO_ALGORITHM)
	{
		*reason = "the token's algorithm is none of HS256, RS256, ES256, PS256";
		return NULL;
	}
	key = kid != NULL && !json_is_string(kid) ? NULL : keys_find(keys, json_string_value(kid));
	if (key == NULL)
		*reason = kid == NULL ? "the token names no key" : "the token's key is not known";
	else if (keys_algorithm(algorithm) != key->algorithm)
	{
		*reason = "the token's algorithm is not that of its key";
		return NULL;
	}
	return key;
}

/* A point in time, rounded down or up to seconds.  Absent: found is false, and it is no error. */
static bool
time_of(const json_t *claims, const char *name, bool up, int64_t *seconds, bool *found)
{
	const json_t *claim = json_object_get(claims, name);
	double number;

	*found = claim != NULL;
	*seconds = 0;
	if (claim == NULL)
		return true;
	if (json_is_integer(claim))
		*seconds = json_integer_value(claim);
	else if (json_is_real(claim))
	{
		number = up ? ceil(json_real_value(claim)) : floor(json_real_value(claim));
		if (!(number >= 0 && number <= (double) JWT_TIME_MAX))
			return false;
		*seconds = (int64_t) number;
	}
	else
		return false;
	return *seconds >= 0 && *seconds <= JWT_TIME_MAX;
}

bool
jwt_expired(int64_t expires_at, double skew, double now)
{
	return now >= (double) expires_at + skew;
}

static bool
times_good(const json_t *claims, const JwtRules *rules, double now, IdentityParts *parts,
		   const char **reason)
{
	int64_t exp, nbf, iat;
	bool has_exp, has_nbf, has_iat;

	if (!time_of(claims, "exp", false, &exp, &has_exp) ||
		!time_of(claims, "nbf", true, &nbf, &has_nbf) ||
		!time_of(claims, "iat", false, &iat, &has_iat))
		return refuse(reason, "exp, nbf or iat of the token is no time");
	if (!has_exp)
		return refuse(reason, "the token never expires");
	if (jwt_expired(exp, rules->skew, now))
		return refuse(reason, "the token has expired");
	if (has_nbf && now + rules->skew < (double) nbf)
		return refuse(reason, "the token is not valid yet");
	if (has_iat && now + rules->skew < (double) iat)
		return refuse(reason, "the token was issued in the future");
	parts->issued_at = iat;
	parts->expires_at = exp;
	return true;
}

static bool
audience_good(const json_t *claims, const char *audience, const char **reason)
{
	const json_t *aud = json_object_get(claims, "aud"), *one;
	const char *text = json_string_value(aud);
	bool found = text != NULL && strcmp(text, audience) == 0;
	size_t i;

	if (audience[0] == '\0')
		return aud == NULL ||
			   refuse(reason, "the token is for an audience, and none is configured");
	if (aud != NULL && text == NULL && !json_is_array(aud))
		return refuse(reason, "the token's aud is neither a text nor a list of texts");
	json_array_foreach(aud, i, one)
	{
		if (!json_is_string(one))
			return refuse(reason, "the token's aud is neither a text nor a list of texts");
		found = found || strcmp(json_string_value(one), audience) == 0;
	}
	return found || refuse(reason, "the token is for another audience");
}

static bool
issuer_good(const json_t *claims, const char *issuer, const char **reason)
{
	const char *iss = json_string_value(json_object_get(claims, "iss"));

	if (issuer[0] == '\0' || (iss != NULL && strcmp(iss, issuer) == 0))
		return true;
	return refuse(reason, "the token is of another issuer");
}

/* A text of at most JWT_SUBJECT_MAX bytes; when it is missing, fallback (NULL: it must not be). */
static bool
text_of(const json_t *claims, const char *name, const char *fallback, const char **text)
{
	const json_t *claim = json_object_get(claims, name);

	*text = claim == NULL ? fallback : json_string_value(claim);
	return *text != NULL && strlen(*text) <= JWT_SUBJECT_MAX && (claim == NULL || **text != '\0');
}

static bool
who_good(const json_t *claims, const JwtRules *rules, IdentityParts *parts, const char **reason)
{
	const char *fallback = rules->default_tenant[0] != '\0' ? rules->default_tenant : NULL;

	if (!text_of(claims, rules->tenant_claim, fallback, &parts->tenant) ||
		!identity_tenant_valid(parts->tenant, strlen(parts->tenant)))
		return refuse(reason, "the token names no tenant");
	if (!text_of(claims, "sub", NULL, &parts->user))
		return refuse(reason, "the token's sub is missing, empty or too long");
	if (!text_of(claims, "sid", "", &parts->session))
		return refuse(reason, "the token's sid is no text, empty or too long");
	if (!text_of(claims, "actor_type", "user", &parts->actor_type) ||
		(strcmp(parts->actor_type, "user") != 0 && strcmp(parts->actor_type, "service") != 0))
		return refuse(reason, "the token's actor_type is neither user nor service");
	return true;
}

/* Words in a text, or a list of words. */
static bool
words_of(const json_t *claim, bool (*add)(IdentityParts *, const char *, size_t),
		 IdentityParts *parts)
{
	const json_t *one;
	size_t i;

	if (json_is_string(claim))
		return add(parts, json_string_value(claim), json_string_length(claim));
	if (claim != NULL && !json_is_array(claim))
		return false;
	json_array_foreach(claim, i, one)
	{
		if (!json_is_string(one) || strpbrk(json_string_value(one), " \t\r\n") != NULL ||
			!add(parts, json_string_value(one), json_string_length(one)))
			return false;
	}
	return true;
}

static bool
rights_good(const json_t *claims, IdentityParts *parts, const char **reason)
{
	if (!words_of(json_object_get(claims, "scope"), identity_add_scopes, parts) ||
		!words_of(json_object_get(claims, "scopes"), identity_add_scopes, parts))
		return refuse(reason,
					  "the token's scope is neither words nor a list of words, or too many");
	if (!words_of(json_object_get(claims, "roles"), identity_add_roles, parts))
		return refuse(reason,
					  "the token's roles are neither words nor a list of words, or too many");
	return true;
}

static Identity *
identity_of_claims(const uint8_t *payload, size_t len, const JwtRules *rules, double now,
				   const char **reason)
{
	json_t *claims = json_loadb((const char *) payload, len, JSON_REJECT_DUPLICATES, NULL);
	Identity *identity = NULL;
	IdentityParts parts;

	memset(&parts, 0, sizeof(parts));
	if (!json_is_object(claims))
		*reason = "the token's claims are no JSON object, or one stands twice";
	else if (times_good(claims, rules, now, &parts, reason) &&
			 issuer_good(claims, rules->issuer, reason) &&
			 audience_good(claims, rules->audience, reason) &&
			 who_good(claims, rules, &parts, reason) && rights_good(claims, &parts, reason))
		identity = identity_make(&parts);
	json_decref(claims);
	return identity;
}

Identity *
jwt_verify(const KeySet *keys, const JwtRules *rules, const char *token, size_t len, double now,
		   const char **reason)
{
	unsigned char header_text[JWT_BYTES_MAX];
	size_t header_len, signature_bytes, payload_len = 0;
	uint8_t *payload = NULL;
	Identity *identity = NULL;
	json_t *header = NULL;
	cjose_jws_t *jws = NULL;
	const Key *key;
	Parts parts;

	if (len > JWT_BYTES_MAX)
		*reason = "the token is too long";
	else if (!split(token, len, &parts) ||
			 !decode(&parts, header_text, &header_len, &signature_bytes))
		*reason = "the token is not three parts of base64url";
	else if ((header = json_loadb((const char *) header_text, header_len, JSON_REJECT_DUPLICATES,
								  NULL)) == NULL ||
			 !json_is_object(header))
		*reason = "the token's header is no JSON object, or a member stands twice";
	else if (header_plain(header, reason) && (key = key_of(keys, header, reason)) != NULL)
	{
		if (signature_bytes != key->signature_bytes ||
			(jws = cjose_jws_import(token, len, NULL)) == NULL ||
			!cjose_jws_verify(jws, key->jwk, NULL) ||
			!cjose_jws_get_plaintext(jws, &payload, &payload_len, NULL))
			*reason = "the token's signature is wrong";
		else
			identity = identity_of_claims(payload, payload_len, rules, now, reason);
	}
	cjose_jws_release(jws);
	json_decref(header);
	ERR_clear_error();
	return identity;
}

char *
jwt_sign(const Key *key, const json_t *claims)
{
	cjose_header_t *header = cjose_header_new(NULL);
	char *payload = json_dumps(claims, JSON_COMPACT), *token = NULL;
	cjose_jws_t *jws = NULL;
	const char *text = NULL;

	if (header != NULL && payload != NULL &&
		cjose_header_set(header, CJOSE_HDR_ALG, keys_algorithm_name(key->algorithm), NULL) &&
		cjose_header_set(header, "typ", "JWT", NULL) &&
		(key->kid[0] == '\0' || cjose_header_set(header, CJOSE_HDR_KID, key->kid, NULL)) &&
		(jws = cjose_jws_sign(key->jwk, header, (const uint8_t *) payload, strlen(payload),
							  NULL)) != NULL &&
		cjose_jws_export(jws, &text, NULL))
		token = strdup(text);
	cjose_jws_release(jws);
	if (header != NULL)
		cjose_header_release(header);
	free(payload);
	ERR_clear_error();
	return token;
}
