/*
 * gateway/lib/keys.c
 *	  Sets of keys: JSON Web Keys checked before libcjose sees them.
 *
 * libcjose takes what it is given: keys of 512 bits, an exponent of one, curves
 * that the algorithm does not name.  All that is refused here, when the keys are
 * read, so that verifying a token has only its signature to look at.
 */
#include "keys.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64url.h"

static const struct
{
	const char *name;
	KeyAlgorithm algorithm;
	cjose_jwk_kty_t type;
} algorithms[] = {
	{"HS256", KEY_HS256, CJOSE_JWK_KTY_OCT},
	{"RS256", KEY_RS256, CJOSE_JWK_KTY_RSA},
	{"ES256", KEY_ES256, CJOSE_JWK_KTY_EC},
	{"PS256", KEY_PS256, CJOSE_JWK_KTY_RSA},
};

#define NALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

const char *
keys_algorithm_name(KeyAlgorithm algorithm)
{
	for (size_t i = 0; i < NALGORITHMS; i++)
		if (algorithms[i].algorithm == algorithm)
			return algorithms[i].name;
	return "";
}

KeyAlgorithm
keys_algorithm(const char *name)
{
	for (size_t i = 0; i < NALGORITHMS; i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return algorithms[i].algorithm;
	return KEY_NO_ALGORITHM;
}

static cjose_jwk_kty_t
type_of(KeyAlgorithm algorithm)
{
	for (size_t i = 0; i < NALGORITHMS; i++)
		if (algorithms[i].algorithm == algorithm)
			return algorithms[i].type;
	abort();
}

static bool __attribute__((format(printf, 3, 4)))
wrong(char *error, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return false;
}

static const char *
member(const json_t *jwk, const char *name)
{
	return json_string_value(json_object_get(jwk, name));
}

/* The bytes of a base64url member, to be freed, or NULL when it is missing or not strict. */
static unsigned char *
member_bytes(const json_t *jwk, const char *name, size_t *len)
{
	const char *text = member(jwk, name);
	size_t text_len = text ? strlen(text) : 0;
	unsigned char *bytes;

	if (text_len == 0)
		return NULL;
	bytes = malloc(text_len);
	if (bytes == NULL)
		abort();
	if (base64url_decode(text, text_len, bytes, len))
		return bytes;
	free(bytes);
	*len = 0;
	return NULL;
}

/* How many bytes the number has, without zeros in front, and its last one; 0: missing or not base64url. */
static size_t
member_size(const json_t *jwk, const char *name, unsigned char *last)
{
	size_t len = 0, zeros = 0;
	unsigned char *bytes = member_bytes(jwk, name, &len);

	*last = bytes != NULL && len > 0 ? bytes[len - 1] : 0;
	while (bytes != NULL && zeros < len && bytes[zeros] == 0)
		zeros++;
	free(bytes);
	return len - zeros;
}

static bool
rsa_good(const json_t *jwk, const char *name, char *error, size_t size)
{
	unsigned char last_n, last_e;
	size_t n = member_size(jwk, "n", &last_n), e = member_size(jwk, "e", &last_e);

	/* With an exponent of one, a signature is its own forgery. */
	if (n == 0 || e == 0 || last_n % 2 == 0 || last_e % 2 == 0 || (e == 1 && last_e == 1) ||
		e > KEYS_RSA_EXPONENT_BYTES_MAX)
		return wrong(error, size, "key \"%s\": n or e is not that of an RSA key", name);
	if (n * 8 < KEYS_RSA_BITS_MIN || n * 8 > KEYS_RSA_BITS_MAX)
		return wrong(error, size, "key \"%s\": an RSA key has %d to %d bits here", name,
					 KEYS_RSA_BITS_MIN, KEYS_RSA_BITS_MAX);
	return true;
}

static bool
ec_good(const json_t *jwk, const char *name, char *error, size_t size)
{
	const char *curve = member(jwk, "crv");
	size_t len;
	bool good = true;

	if (curve == NULL || strcmp(curve, "P-256") != 0)
		return wrong(error, size, "key \"%s\": ES256 is for the curve P-256 alone", name);
	for (int i = 0; i < 2; i++)
	{
		unsigned char *bytes = member_bytes(jwk, i == 0 ? "x" : "y", &len);

		good = good && bytes != NULL && len == 32;
		free(bytes);
	}
	if (!good)
		return wrong(error, size, "key \"%s\": x and y have 32 bytes each", name);
	return true;
}

static bool
holds_pem(const unsigned char *bytes, size_t len)
{
	static const char begin[] = "-----BEGIN";
	const size_t n = sizeof(begin) - 1;

	for (size_t i = 0; i + n <= len; i++)
		if (memcmp(bytes + i, begin, n) == 0)
			return true;
	return false;
}

/* A secret must not be something that others know: a public key's text is the classic. */
static bool
secret_good(const json_t *jwk, const char *name, char *error, size_t size)
{
	size_t len = 0;
	unsigned char *bytes = member_bytes(jwk, "k", &len);
	bool good = bytes != NULL && len >= KEYS_SECRET_MIN;
	bool text = bytes != NULL && holds_pem(bytes, len);

	if (bytes != NULL)
		explicit_bzero(bytes, len);
	free(bytes);
	if (!good)
		return wrong(error, size, "key \"%s\": a secret has at least %d bytes, in base64url", name,
					 KEYS_SECRET_MIN);
	if (text)
		return wrong(error, size, "key \"%s\": the secret is a PEM file", name);
	return true;
}

/* Is the entry for something else than verifying signatures of ours? */
static bool
not_for_us(const json_t *jwk)
{
	const char *use = member(jwk, "use"), *algorithm = member(jwk, "alg");
	const json_t *operations = json_object_get(jwk, "key_ops"), *operation;
	bool verifies = !json_is_array(operations);
	size_t i;

	json_array_foreach(operations, i, operation)
	{
		const char *name = json_string_value(operation);

		if (name != NULL && (strcmp(name, "verify") == 0 || strcmp(name, "sign") == 0))
			verifies = true;
	}
	return (use != NULL && strcmp(use, "sig") != 0) || !verifies ||
		   (algorithm != NULL && keys_algorithm(algorithm) == KEY_NO_ALGORITHM);
}

static bool
kid_good(const KeySet *set, const char *kid, char *error, size_t size)
{
	if (strlen(kid) > KEYS_KID_MAX)
		return wrong(error, size, "a key's id has more than %d bytes", KEYS_KID_MAX);
	if (set->nkeys == KEYS_MAX)
		return wrong(error, size, "there are more than %d keys", KEYS_MAX);
	if (set->nkeys > 0 && (kid[0] == '\0' || set->keys[0].kid[0] == '\0'))
		return wrong(error, size, "each of several keys needs its id (\"kid\")");
	for (int i = 0; i < set->nkeys; i++)
		if (strcmp(set->keys[i].kid, kid) == 0)
			return wrong(error, size, "two keys have the id \"%s\"", kid);
	return true;
}

static bool
material_good(const json_t *jwk, const char *kid, KeyAlgorithm algorithm, char *error, size_t size)
{
	const char *type = member(jwk, "kty");
	cjose_jwk_kty_t expected = type_of(algorithm);

	if (type == NULL || strcmp(type, cjose_jwk_name_for_kty(expected, NULL)) != 0)
		return wrong(error, size, "key \"%s\": its type is not that of %s", kid,
					 keys_algorithm_name(algorithm));
	switch (expected)
	{
		case CJOSE_JWK_KTY_RSA:
			return rsa_good(jwk, kid, error, size);
		case CJOSE_JWK_KTY_EC:
			return ec_good(jwk, kid, error, size);
		case CJOSE_JWK_KTY_OCT:
			return secret_good(jwk, kid, error, size);
	}
	return false;
}

/* A context of HMAC with SHA-256 that has taken the secret; NULL: there is no such algorithm. */
static EVP_MAC_CTX *
hmac_new(const cjose_jwk_t *jwk)
{
	EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = algorithm != NULL ? EVP_MAC_CTX_new(algorithm) : NULL;
	OSSL_PARAM digest[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *) "SHA256", 0),
		OSSL_PARAM_construct_end()};

	EVP_MAC_free(algorithm);
	if (context != NULL && EVP_MAC_init(context, cjose_jwk_get_keydata(jwk, NULL),
										cjose_jwk_get_keysize(jwk, NULL) / 8, digest) == 1)
		return context;
	EVP_MAC_CTX_free(context);
	return NULL;
}

static char *
copy(const char *text)
{
	char *result = strdup(text);

	if (result == NULL)
		abort();
	return result;
}

bool
keys_add(KeySet *set, json_t *jwk, char *error, size_t size)
{
	const char *kid = member(jwk, "kid"), *name = member(jwk, "alg");
	Key key = {.algorithm = KEY_NO_ALGORITHM};

	if (!json_is_object(jwk) || (kid == NULL && json_object_get(jwk, "kid") != NULL))
		return wrong(error, size, "a key is an object, and its \"kid\" a text");
	if (not_for_us(jwk))
	{
		set->skipped++;
		return true;
	}
	kid = kid == NULL ? "" : kid;
	if (name == NULL)
		return wrong(error, size, "key \"%s\" names no algorithm (\"alg\")", kid);
	key.algorithm = keys_algorithm(name);
	if (!kid_good(set, kid, error, size) || !material_good(jwk, kid, key.algorithm, error, size))
		return false;
	key.jwk = cjose_jwk_import_json(jwk, NULL);
	if (key.jwk != NULL && key.algorithm == KEY_HS256 && (key.hmac = hmac_new(key.jwk)) == NULL)
	{
		cjose_jwk_release(key.jwk);
		key.jwk = NULL;
	}
	ERR_clear_error();
	if (key.jwk == NULL)
		return wrong(error, size, "key \"%s\" is not a key of its type", kid);
	key.kid = copy(kid);
	key.signature_bytes = key.algorithm == KEY_HS256   ? KEYS_HS256_BYTES
						  : key.algorithm == KEY_ES256 ? 64
													   : cjose_jwk_get_keysize(key.jwk, NULL) / 8;
	key.signs = key.algorithm == KEY_HS256 || member(jwk, "d") != NULL;
	set->keys = realloc(set->keys, sizeof(Key) * (size_t) (set->nkeys + 1));
	if (set->keys == NULL)
		abort();
	set->keys[set->nkeys++] = key;
	return true;
}

bool
keys_add_json(KeySet *set, const char *json, size_t len, char *error, size_t size)
{
	json_error_t where;
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where), *keys, *jwk;
	bool good = true;
	size_t i;

	/* Not where.text: it quotes what it found there. */
	if (root == NULL)
		return wrong(error, size, "not JSON: line %d, column %d", where.line, where.column);
	keys = json_object_get(root, "keys");
	if (json_is_object(root) && keys == NULL)
		good = keys_add(set, root, error, size);
	else if (!json_is_array(keys))
		good = wrong(error, size, "neither a key nor {\"keys\": [...]}");
	else
		json_array_foreach(keys, i, jwk)
		{
			good = good && keys_add(set, jwk, error, size);
		}
	json_decref(root);
	return good;
}

KeySet *
keys_parse(const char *json, size_t len, char *error, size_t size)
{
	KeySet *set = calloc(1, sizeof(KeySet));

	if (set == NULL)
		abort();
	if (keys_add_json(set, json, len, error, size) &&
		(set->nkeys > 0 || wrong(error, size, "there is no key in it")))
		return set;
	keys_free(set);
	return NULL;
}

void
keys_free(KeySet *set)
{
	if (set == NULL)
		return;
	for (int i = 0; i < set->nkeys; i++)
	{
		cjose_jwk_release(set->keys[i].jwk);
		EVP_MAC_CTX_free(set->keys[i].hmac);
		free(set->keys[i].kid);
	}
	free(set->keys);
	free(set);
}

const Key *
keys_find(const KeySet *set, const char *kid)
{
	if (kid == NULL)
		return set->nkeys == 1 ? &set->keys[0] : NULL;
	for (int i = 0; i < set->nkeys; i++)
		if (set->keys[i].kid[0] != '\0' && strcmp(set->keys[i].kid, kid) == 0)
			return &set->keys[i];
	return NULL;
}

const Key *
keys_signing(const KeySet *set, const char *kid)
{
	for (int i = 0; i < set->nkeys; i++)
		if (set->keys[i].signs && (kid == NULL || strcmp(set->keys[i].kid, kid) == 0))
			return &set->keys[i];
	return NULL;
}
