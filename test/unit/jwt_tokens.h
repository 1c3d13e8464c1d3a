/*
 * test/unit/jwt_tokens.h
 *	  What the tests of tokens share: a set of keys, tokens of any header and claims, and what becomes of them.
 */
#ifndef JWT_TOKENS_H
#define JWT_TOKENS_H

#include "base64url.h"
#include "jwt.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define NOW 1700000000.0

#define NO_FORM   "the token is not three parts of base64url"
#define NO_HEADER "the token's header is no JSON object, or a member stands twice"
#define NO_MEMBER \
	"the token's header has a member that is not taken: crit, jku, jwk, x5u, x5c, cty, enc, zip or b64"
#define NO_ALG    "the token's algorithm is none of HS256, RS256, ES256, PS256"
#define OTHER_ALG "the token's algorithm is not that of its key"
#define NO_KEY    "the token's key is not known"
#define NO_KID    "the token names no key"
#define BAD       "the token's signature is wrong"
#define NO_TIME   "exp, nbf or iat of the token is no time"
#define OVER      "the token has expired"
#define EARLY     "the token is not valid yet"
#define FUTURE    "the token was issued in the future"
#define NO_EXP    "the token never expires"
#define OTHER_AUD "the token is for another audience"
#define NO_TENANT "the token names no tenant"
#define NO_SUB    "the token's sub is missing, empty or too long"
#define NO_SCOPE  "the token's scope is neither words nor a list of words, or too many"
#define NO_CLAIMS "the token's claims are no JSON object, or one stands twice"

static KeySet *set; /* keys h, r, e, p: one of each algorithm */
static JwtRules rules = {"", "", "tenant", "", 0};
static const char good_claims[] = "{\"sub\": \"u-7\", \"tenant\": \"acme\", \"exp\": 1700000100}";

/* The token in memory of exactly its size; "" when it is taken, else why not. */
static inline const char *
verdict_of(const KeySet *keys, const char *token, size_t len, double now)
{
	char *copy = malloc(len + (len == 0));
	const char *reason = NULL;
	Identity *identity;

	memcpy(copy, token, len);
	identity = jwt_verify(keys, &rules, copy, len, now, &reason);
	free(copy);
	if ((identity == NULL) != (reason != NULL))
		return "neither an identity nor a reason, or both";
	identity_release(identity);
	return reason ? reason : "";
}

static inline void
expect(const KeySet *keys, const char *token, double now, const char *wanted, const char *what)
{
	const char *verdict = verdict_of(keys, token, strlen(token), now);

	ok(strcmp(verdict, wanted) == 0, what);
	if (strcmp(verdict, wanted) != 0)
		printf("# \"%s\" and not \"%s\"\n", verdict, wanted);
}

static inline KeySet *
parse(const char *json)
{
	char error[512];
	KeySet *keys = keys_parse(json, strlen(json), error, sizeof(error));

	if (keys == NULL)
	{
		printf("Bail out! %s\n", error);
		exit(1);
	}
	return keys;
}

static inline char *
encoded(const void *bytes, size_t len)
{
	char *text = malloc(base64url_encoded(len) + 1);

	base64url_encode(bytes, len, text);
	return text;
}

static inline char *
joined(const char *a, const char *b, const char *c)
{
	char *text = malloc(strlen(a) + strlen(b) + strlen(c) + 3);

	sprintf(text, "%s.%s.%s", a, b, c);
	return text;
}

/* Any header and any claims, with an HMAC by that secret. */
static inline char *
hs_token(const char *header, const char *claims, const void *secret, size_t secret_len)
{
	char *h = encoded(header, strlen(header)), *c = encoded(claims, strlen(claims));
	char *input = malloc(strlen(h) + strlen(c) + 2), *s, *token;
	unsigned char mac[32];
	unsigned len = sizeof(mac);

	sprintf(input, "%s.%s", h, c);
	HMAC(EVP_sha256(), secret, (int) secret_len, (unsigned char *) input, strlen(input), mac, &len);
	s = encoded(mac, len);
	token = joined(h, c, s);
	free(h), free(c), free(input), free(s);
	return token;
}

static inline char *
signed_with(const char *kid, const char *claims)
{
	json_t *json = json_loads(claims, 0, NULL);
	char *token = jwt_sign(keys_signing(set, kid), json);

	json_decref(json);
	return token;
}

static inline const unsigned char *
secret(size_t *len)
{
	const Key *key = keys_find(set, "h");

	*len = cjose_jwk_get_keysize(key->jwk, NULL) / 8;
	return cjose_jwk_get_keydata(key->jwk, NULL);
}

static inline KeySet *
make_set(void)
{
	json_t *keys = json_pack("{s:[o,o,o,o]}", "keys", keys_generate(KEY_HS256, "h"),
							 keys_generate(KEY_RS256, "r"), keys_generate(KEY_ES256, "e"),
							 keys_generate(KEY_PS256, "p"));
	char *text = json_dumps(keys, 0);
	KeySet *result = parse(text);

	free(text);
	json_decref(keys);
	return result;
}

#endif /* JWT_TOKENS_H */
