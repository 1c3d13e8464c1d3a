/*
 * test/fuzz/jwt.c
 *	  Any bytes as the header Authorization, as the parts of a token that is signed, and as keys.
 *
 * A token that was changed must not be taken; whoever is taken has a tenant and
 * a user, his time is not over, and another reader of JSON reads his claims; what decodes as base64url must encode to
 * the same text.
 *
 * fuzz sources: -lcjose -ljansson -lcrypto
 */
#include "fuzz.h"

#include "authorization.h"
#include "base64url.h"
#include "jwt.h"
#include "scope.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

const char *const usher_fuzz_words[] = {"Bearer ",
										"ApiKey ",
										"usk_",
										"eyJ",
										".",
										"{",
										"}",
										"[",
										"]",
										",",
										":",
										"\"",
										"\"alg\"",
										"\"HS256\"",
										"\"ES256\"",
										"\"none\"",
										"\"kid\":",
										"\"h\"",
										"\"crit\":",
										"\"typ\":\"JWT\"",
										"\"sub\":\"u\"",
										"\"tenant\":\"t\"",
										"\"exp\":1700000100",
										"\"exp\":1.7e9",
										"\"nbf\":",
										"\"iat\":",
										"\"aud\":[\"a\"]",
										"\"scope\":\"log:read\"",
										"\"scopes\":[\"*\"]",
										"\"roles\":",
										"null",
										"1e999",
										"-1",
										"\\u0000",
										"\xff",
										"{\"alg\":\"HS256\",\"kid\":\"h\"}",
										"{\"keys\":[",
										"\"kty\":\"oct\",\"k\":",
										"\"kty\":\"RSA\"",
										"\"n\":\"AQAB\"",
										"\"e\":\"AQAB\"",
										"log:append:",
										"**",
										NULL};

#define NOW 1700000000.0

static const char jwks[] =
	"{\"keys\":["
	"{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"h\","
	"\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"},"
	"{\"kty\":\"EC\",\"alg\":\"ES256\",\"kid\":\"e\",\"crv\":\"P-256\","
	"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
	"\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}]}";

static const JwtRules rules = {"", "", "tenant", "", 30};
static KeySet *keys;
static char *valid[2]; /* a token of each key */

static void
prepare(void)
{
	char error[200];
	json_t *claims = json_loads(
		"{\"sub\":\"u\",\"tenant\":\"t\",\"exp\":1700000100,\"scope\":\"log:read\"}", 0, NULL);

	keys = keys_parse(jwks, sizeof(jwks) - 1, error, sizeof(error));
	must(keys != NULL && keys->nkeys == 2);
	for (int i = 0; i < 2; i++)
	{
		valid[i] = jwt_sign(&keys->keys[i], claims);
		must(valid[i] != NULL);
	}
	json_decref(claims);
}

/* Is it taken?  Whoever is must be whole. */
static bool
taken(const char *token, size_t len)
{
	const char *reason = NULL;
	Identity *identity = jwt_verify(keys, &rules, token, len, NOW, &reason);

	if (identity == NULL)
	{
		must(reason != NULL);
		return false;
	}
	must(reason == NULL && identity->references == 1 && !identity->anonymous && !identity->is_key);
	must(identity_tenant_valid(identity->tenant, strlen(identity->tenant)));
	must(identity->user[0] != '\0' && strlen(identity->user) <= JWT_SUBJECT_MAX);
	must(identity->expires_at + 30 > (int64_t) NOW && identity->issued_at <= (int64_t) NOW + 30);
	must(identity->nscopes <= IDENTITY_SCOPES_MAX && identity->nroles <= IDENTITY_ROLES_MAX);
	for (int i = 0; i < identity->nscopes; i++)
		must(identity->scopes[i][0] != '\0' && strchr(identity->scopes[i], ' ') == NULL);
	identity_release(identity);
	return true;
}

static void
try_header(const uint8_t *data, size_t size)
{
	Slice value = {(const char *) data, size}, credential = {NULL, 0};
	const char *reason = NULL;

	switch (authorization_parse(value, &credential, &reason))
	{
		case AUTHORIZATION_TOKEN:
			must(credential.data >= value.data && credential.len > 0 &&
				 credential.data + credential.len <= value.data + value.len);
			taken(credential.data, credential.len);
			break;
		case AUTHORIZATION_KEY:
			must(credential.len >= API_KEY_BYTES_MIN && credential.len <= API_KEY_BYTES_MAX);
			break;
		case AUTHORIZATION_BAD:
			must(reason != NULL);
			break;
		case AUTHORIZATION_NONE:
			must(false);
	}
	taken((const char *) data, size);
}

/* What we read, jansson reads too, but for numbers that it has no room for. */
static bool
read_by_others(const void *text, size_t len)
{
	json_error_t error;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	bool good = json != NULL ? json_is_object(json)
							 : json_error_code(&error) == json_error_numeric_overflow;

	json_decref(json);
	return good;
}

/* Any header and claims, signed as they should be, so that what is behind the signature is reached. */
static void
try_signed(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	size_t header_len, payload_len = 0, at;
	char *header = input_bytes(&in, &header_len), *token;
	unsigned char mac[32];
	unsigned mac_len = sizeof(mac);
	const Key *key = &keys->keys[0];

	if (header_len == 0)
	{
		free(header);
		header = strdup("{\"alg\":\"HS256\",\"kid\":\"h\"}");
		header_len = strlen(header);
	}
	payload_len = (size_t) (in.end - in.at);
	token = malloc((header_len + payload_len) * 2 + 100);
	base64url_encode((unsigned char *) header, header_len, token);
	at = strlen(token);
	token[at++] = '.';
	base64url_encode(in.at, payload_len, token + at);
	at = strlen(token);
	HMAC(EVP_sha256(), cjose_jwk_get_keydata(key->jwk, NULL),
		 (int) cjose_jwk_get_keysize(key->jwk, NULL) / 8, (unsigned char *) token, at, mac,
		 &mac_len);
	token[at++] = '.';
	base64url_encode(mac, sizeof(mac), token + at);
	if (taken(token, strlen(token)))
		must(read_by_others(header, header_len) && read_by_others(in.at, payload_len));
	free(header);
	free(token);
}

/* A good token with some of its characters changed. */
static void
try_changed(const uint8_t *data, size_t size)
{
	const char *original = valid[size % 2];
	size_t len = strlen(original);
	char *token = malloc(len);

	memcpy(token, original, len);
	for (size_t i = 0; i + 2 < size; i += 3)
		token[((size_t) data[i] << 8 | data[i + 1]) % len] = (char) data[i + 2];
	must(taken(token, len) == (memcmp(token, original, len) == 0));
	free(token);
}

static void
try_base64url(const uint8_t *data, size_t size)
{
	unsigned char *bytes = malloc(size * 3 / 4 + (size == 0));
	size_t len;

	if (base64url_decode((const char *) data, size, bytes, &len))
	{
		char *text = malloc(base64url_encoded(len) + 1);

		base64url_encode(bytes, len, text);
		must(strlen(text) == size && memcmp(text, data, size) == 0);
		free(text);
	}
	free(bytes);
}

static void
try_keys(const uint8_t *data, size_t size)
{
	char error[200] = "";
	KeySet *set = keys_parse((const char *) data, size, error, sizeof(error));

	must((set == NULL) == (error[0] != '\0'));
	must(set == NULL || set->nkeys > 0);
	keys_free(set);
}

static void
try_scope(const uint8_t *data, size_t size)
{
	Input in = {data, data + size};
	size_t len;
	char *scope = input_bytes(&in, &len), *text = malloc(len + 1);

	memcpy(text, scope, len);
	text[len] = '\0';
	if (scope_allows(text, "log:append", (const char *) in.at, (size_t) (in.end - in.at)))
		must(scope_mentions(text, "log:append"));
	scope_allows(text, "log:append", NULL, 0);
	free(scope);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const uint8_t *, size_t) = {
		try_header, try_signed, try_signed, try_changed, try_base64url, try_keys, try_scope};

	if (keys == NULL)
		prepare();
	if (size > 0)
		tries[data[0] % (sizeof(tries) / sizeof(tries[0]))](data + 1, size - 1);
	return 0;
}
