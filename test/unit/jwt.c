/*
 * test/unit/jwt.c
 *	  Tokens: the examples of RFC 7515, every way to forge or bend one, and every edge of a claim.
 *
 * unit sources: -lcjose -ljansson -lcrypto
 */
#include "base64url.h"
#include "jwt.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int tests, failures;
static KeySet *set; /* keys h, r, e, p: one of each algorithm */
static JwtRules rules = {"", "", "tenant", "", 0};
static const char good_claims[] = "{\"sub\": \"u-7\", \"tenant\": \"acme\", \"exp\": 1700000100}";

static void
ok(bool passed, const char *what)
{
	tests++;
	failures += !passed;
	printf("%sok %d - %s\n", passed ? "" : "not ", tests, what);
}

/* The token in memory of exactly its size; "" when it is taken, else why not. */
static const char *
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

static void
expect(const KeySet *keys, const char *token, double now, const char *wanted, const char *what)
{
	const char *verdict = verdict_of(keys, token, strlen(token), now);

	ok(strcmp(verdict, wanted) == 0, what);
	if (strcmp(verdict, wanted) != 0)
		printf("# \"%s\" and not \"%s\"\n", verdict, wanted);
}

static KeySet *
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

static char *
encoded(const void *bytes, size_t len)
{
	char *text = malloc(base64url_encoded(len) + 1);

	base64url_encode(bytes, len, text);
	return text;
}

static char *
joined(const char *a, const char *b, const char *c)
{
	char *text = malloc(strlen(a) + strlen(b) + strlen(c) + 3);

	sprintf(text, "%s.%s.%s", a, b, c);
	return text;
}

/* Any header and any claims, with an HMAC by that secret. */
static char *
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

static char *
signed_with(const char *kid, const char *claims)
{
	json_t *json = json_loads(claims, 0, NULL);
	char *token = jwt_sign(keys_signing(set, kid), json);

	json_decref(json);
	return token;
}

/*
 * The examples of RFC 7515, appendix A
 */

#define RFC_CLAIMS                                                                   \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc1" \
	"9yb290Ijp0cnVlfQ"

static const struct
{
	const char *what, *key, *token;
} examples[] = {
	{"RFC 7515 A.1 (HS256), RFC 7519 3.1",
	 "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH"
	 "75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}",
	 "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_CLAIMS
	 ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
	{"RFC 7515 A.2 (RS256)",
	 "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26"
	 "mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZ"
	 "o9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZ"
	 "lxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR"
	 "WyuXpoQ\",\"e\":\"AQAB\"}",
	 "eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS
	 ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
	 "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L"
	 "07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUi"
	 "pUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
	{"RFC 7515 A.3 (ES256)",
	 "{\"kty\":\"EC\",\"alg\":\"ES256\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uP"
	 "HvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
	 "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS
	 ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
};

/* The claims have no sub, which is found out behind the signature only. */
static void
test_examples(void)
{
	rules.default_tenant = "default";
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
	{
		KeySet *keys = parse(examples[i].key);
		const char *token = examples[i].token;
		size_t len = strlen(token), taken = 0, changed = 0;
		char *copy = strdup(token);

		expect(keys, token, 1300819379, NO_SUB, examples[i].what);
		for (size_t cut = 0; cut < len; cut++)
			taken += strcmp(verdict_of(keys, token, cut, 1300819379), NO_SUB) == 0;
		ok(taken == 0, "no beginning of it is taken");
		for (size_t at = 0; at < len; at++)
		{
			copy[at] = copy[at] == 'A' ? 'B' : 'A';
			changed += strcmp(verdict_of(keys, copy, len, 1300819379), NO_SUB) == 0;
			copy[at] = token[at];
		}
		ok(changed == 0, "nor with any character changed");
		free(copy);
		keys_free(keys);
	}
	rules.default_tenant = "";
}

/*
 * Forgeries
 */

static const unsigned char *
secret(size_t *len)
{
	const Key *key = keys_find(set, "h");

	*len = cjose_jwk_get_keysize(key->jwk, NULL) / 8;
	return cjose_jwk_get_keydata(key->jwk, NULL);
}

static void
header_is(const char *header, const char *wanted, const char *what)
{
	size_t len;
	const unsigned char *bytes = secret(&len);
	char *token = hs_token(header, good_claims, bytes, len);

	expect(set, token, NOW, wanted, what);
	free(token);
}

static void
test_headers(void)
{
	static const char *const refused[] = {"crit", "jku", "jwk", "x5u", "x5c",
										  "cty",  "enc", "zip", "b64"};
	char header[200];

	header_is("{\"alg\":\"HS256\",\"kid\":\"h\"}", "", "the header as it should be");
	header_is("{\"alg\":\"HS256\",\"kid\":\"h\",\"typ\":\"at+JWT\",\"x\":[1]}", "",
			  "a type of RFC 9068, and a member that nobody knows");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
	{
		snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"h\",\"%s\":\"x\"}",
				 refused[i]);
		header_is(header, NO_MEMBER, refused[i]);
	}
	header_is("{\"alg\":\"HS256\",\"kid\":\"h\",\"crit\":[]}", NO_MEMBER, "an empty crit");
	header_is("{\"alg\":\"HS256\",\"kid\":\"h\",\"typ\":\"logout+jwt\"}",
			  "the token's typ is not JWT", "another type of token");
	header_is("{\"alg\":\"HS256\",\"kid\":\"h\",\"typ\":1}", "the token's typ is not JWT",
			  "a type that is no text");
	header_is("{\"alg\":\"none\",\"kid\":\"h\"}", NO_ALG, "none");
	header_is("{\"alg\":\"NoNe\",\"kid\":\"h\"}", NO_ALG, "none in other letters");
	header_is("{\"alg\":\"hs256\",\"kid\":\"h\"}", NO_ALG, "hs256 in small letters");
	header_is("{\"alg\":\"HS384\",\"kid\":\"h\"}", NO_ALG, "HS384");
	header_is("{\"alg\":\"HS512\",\"kid\":\"h\"}", NO_ALG, "HS512");
	header_is("{\"alg\":[\"HS256\"],\"kid\":\"h\"}", NO_ALG, "a list of algorithms");
	header_is("{\"kid\":\"h\"}", NO_ALG, "no algorithm");
	header_is("{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"h\"}", NO_HEADER, "two algorithms");
	header_is("{\"alg\":\"HS256\",\"kid\":\"r\",\"kid\":\"h\"}", NO_HEADER, "two kids");
	header_is("[\"HS256\"]", NO_HEADER, "a header that is a list");
	header_is("\"HS256\"", NO_HEADER, "a header that is a text");
	header_is("{\"alg\":\"HS256\",\"kid\":\"h\"", NO_HEADER, "a header that does not end");
	header_is("{\"alg\":\"HS256\",\"kid\":\"h\\u0000\"}", NO_HEADER, "a kid with a zero byte");
	header_is("{\"alg\":\"HS256\",\"kid\":\"x\"}", NO_KEY, "an unknown kid");
	header_is("{\"alg\":\"HS256\",\"kid\":\"\"}", NO_KEY, "an empty kid");
	header_is("{\"alg\":\"HS256\",\"kid\":7}", NO_KEY, "a kid that is a number");
	header_is("{\"alg\":\"HS256\",\"kid\":null}", NO_KEY, "a kid that is null");
	header_is("{\"alg\":\"HS256\"}", NO_KID, "no kid, with several keys");
}

/* The HMAC of whatever an attacker can know, under the id of a public key. */
static void
test_confusion(void)
{
	static const char *const kids[] = {"r", "e", "p"};
	char header[100], what[100];
	json_t *public = keys_public(set), *key;
	size_t i;

	ok(json_array_size(json_object_get(public, "keys")) == 3,
	   "secrets are not among the public keys");
	json_array_foreach(json_object_get(public, "keys"), i, key)
	{
		const char *kid = json_string_value(json_object_get(key, "kid"));
		char *text = json_dumps(key, JSON_COMPACT), *token;
		const char *n = json_string_value(
			json_object_get(key, json_object_get(key, "n") ? "n" : "x"));

		ok(json_object_get(key, "d") == NULL && strcmp(kid, kids[i]) == 0,
		   "a public key is public");
		snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%s\"}", kid);
		token = hs_token(header, good_claims, text, strlen(text));
		expect(set, token, NOW, OTHER_ALG, "HS256 with a public key's JWK as secret");
		free(token);
		token = hs_token(header, good_claims, n, strlen(n));
		expect(set, token, NOW, OTHER_ALG, "HS256 with a public key's number as secret");
		free(token);
		token = hs_token("{\"alg\":\"HS256\",\"kid\":\"h\"}", good_claims, text, strlen(text));
		expect(set, token, NOW, BAD, "HS256 with it under the secret's id");
		free(token);
		free(text);
	}
	json_decref(public);
	for (size_t a = 0; a < 3; a++)
		for (size_t b = 0; b < 3; b++)
		{
			Key lying = *keys_find(set, kids[a]);
			json_t *claims = json_loads(good_claims, 0, NULL);
			char *token;

			lying.kid = (char *) kids[b];
			token = jwt_sign(&lying, claims);
			snprintf(what, sizeof(what), "signed by %s, says it was %s", kids[a], kids[b]);
			expect(set, token, NOW, a == b ? "" : OTHER_ALG, what);
			free(token);
			json_decref(claims);
		}
}

static void
test_other_keys(void)
{
	static const KeyAlgorithm all[] = {KEY_HS256, KEY_RS256, KEY_ES256, KEY_PS256};
	static const char *const kids[] = {"h", "r", "e", "p"};

	for (size_t i = 0; i < 4; i++)
	{
		json_t *jwk = keys_generate(all[i], kids[i]), *claims = json_loads(good_claims, 0, NULL);
		char *text = json_dumps(jwk, 0), *token;
		KeySet *other = parse(text);

		token = jwt_sign(&other->keys[0], claims);
		expect(set, token, NOW, BAD, "a key of the same id and algorithm that is another's");
		free(token);
		free(text);
		json_decref(jwk);
		json_decref(claims);
		keys_free(other);
	}
}

/*
 * The signature's and the token's form
 */

/* The token with another signature. */
static void
signature_is(const char *token, const unsigned char *bytes, size_t len, const char *wanted,
			 const char *what)
{
	char *text = encoded(bytes, len);
	size_t front = (size_t) (strrchr(token, '.') - token) + 1;
	char *other = malloc(front + strlen(text) + 1);

	memcpy(other, token, front);
	strcpy(other + front, text);
	expect(set, other, NOW, wanted, what);
	free(other);
	free(text);
}

static void
test_signatures(void)
{
	static const char *const kids[] = {"h", "r", "e", "p"};

	for (size_t i = 0; i < 4; i++)
	{
		char *token = signed_with(kids[i], good_claims);
		const char *text = strrchr(token, '.') + 1;
		unsigned char bytes[1024] = {0}, zero[1024] = {0};
		size_t len;

		expect(set, token, NOW, "", kids[i]);
		base64url_decode(text, strlen(text), bytes, &len);
		ok(len == keys_find(set, kids[i])->signature_bytes, "its signature's length is known");
		signature_is(token, bytes, len - 1, BAD, "a signature without its last byte");
		signature_is(token, bytes, len / 2, BAD, "half a signature");
		signature_is(token, bytes, 1, BAD, "one byte of a signature");
		signature_is(token, bytes, len + 1, BAD, "a signature with a zero behind it");
		signature_is(token, bytes, len + len, BAD, "a signature with as many zeros behind it");
		memmove(bytes + 1, bytes, len);
		bytes[0] = 0;
		signature_is(token, bytes, len + 1, BAD, "a signature with a zero in front");
		signature_is(token, zero, len, BAD, "a signature of zeros");
		memset(zero, 255, sizeof(zero));
		signature_is(token, zero, len, BAD, "a signature of ones");
		free(token);
	}
}

/* (r, n - s) is as good a signature as (r, s): the token is the same one, and has the same claims. */
static void
test_malleable(void)
{
	char *token = signed_with("e", good_claims);
	const char *text = strrchr(token, '.') + 1;
	unsigned char bytes[64];
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *s, *r;
	size_t len;

	base64url_decode(text, strlen(text), bytes, &len);
	s = BN_bin2bn(bytes + 32, 32, NULL);
	r = BN_bin2bn(bytes, 32, NULL);
	BN_sub(s, EC_GROUP_get0_order(group), s);
	BN_bn2binpad(s, bytes + 32, 32);
	signature_is(token, bytes, 64, "", "ES256 with the other of two signatures");
	BN_add(s, EC_GROUP_get0_order(group), s);
	if (BN_num_bytes(s) <= 32)
	{
		BN_bn2binpad(s, bytes + 32, 32);
		signature_is(token, bytes, 64, BAD, "ES256 with s above the order");
	}
	BN_zero(s);
	BN_bn2binpad(s, bytes + 32, 32);
	signature_is(token, bytes, 64, BAD, "ES256 with s = 0");
	BN_bn2binpad(r, bytes + 32, 32);
	BN_bn2binpad(s, bytes, 32);
	signature_is(token, bytes, 64, BAD, "ES256 with r = 0");
	BN_free(s);
	BN_free(r);
	EC_GROUP_free(group);
	free(token);
}

static void
form_is(const char *format, const char *token, const char *wanted, const char *what)
{
	char *text = malloc(strlen(format) + strlen(token) + 1);

	sprintf(text, format, token);
	expect(set, text, NOW, wanted, what);
	free(text);
}

static void
test_forms(void)
{
	char *token = signed_with("h", good_claims), *long_token;
	const char *first = strchr(token, '.'), *last = strrchr(token, '.');
	char *headless = strdup(first), *unsigned_token = strndup(token, (size_t) (last - token) + 1);
	char *bent = strdup(token);
	size_t len = strlen(token);

	form_is("%s", "", NO_FORM, "nothing");
	form_is("%s", ".", NO_FORM, "a dot");
	form_is("%s", "..", NO_FORM, "two dots");
	form_is("%s", "a.b.c", NO_FORM, "parts of one character");
	form_is("%s", headless, NO_FORM, "no header");
	form_is("%s", unsigned_token, NO_FORM, "no signature");
	form_is("%s.", token, NO_FORM, "a fourth, empty part");
	form_is("%s.YQ", token, NO_FORM, "a fourth part");
	form_is("%s=", token, NO_FORM, "padding");
	form_is("%s\n", token, NO_FORM, "a line's end");
	form_is(" %s", token, NO_FORM, "a blank in front");
	form_is("%s+", token, NO_FORM, "a character of plain base64");
	/* 32 bytes are 43 characters: two bits of the last one mean nothing, and must be zero. */
	bent[len - 1]++;
	form_is("%s", bent, NO_FORM, "another text for the same signature");
	ok(strcmp(verdict_of(set, token, len, NOW), "") == 0, "the token itself is good");
	long_token = malloc(JWT_BYTES_MAX + 2);
	memset(long_token, 'A', JWT_BYTES_MAX + 1);
	long_token[10] = long_token[5000] = '.';
	ok(strcmp(verdict_of(set, long_token, JWT_BYTES_MAX + 1, NOW), "the token is too long") == 0,
	   "a token of 8193 bytes");
	ok(strcmp(verdict_of(set, long_token, JWT_BYTES_MAX, NOW), "the token is too long") != 0,
	   "one of 8192 is looked at");
	free(token), free(long_token), free(headless), free(unsigned_token), free(bent);
}

static void
test_single_key(void)
{
	json_t *jwk = keys_generate(KEY_HS256, ""), *claims = json_loads(good_claims, 0, NULL);
	char *text = json_dumps(jwk, 0), *token;
	KeySet *one = parse(text);

	token = jwt_sign(&one->keys[0], claims);
	expect(one, token, NOW, "", "no kid, and one key without an id");
	free(token);
	one->keys[0].kid[0] = '\0';
	token = signed_with("h", good_claims);
	expect(one, token, NOW, NO_KEY, "a kid, and one key without an id");
	free(token), free(text);
	json_decref(jwk), json_decref(claims);
	keys_free(one);
}

/*
 * Claims
 */

typedef struct ClaimCase
{
	const char *claims; /* without sub and tenant */
	const char *wanted;
} ClaimCase;

static void
claims_are(const char *claims, const char *wanted)
{
	size_t len;
	const unsigned char *bytes = secret(&len);
	char *token = hs_token("{\"alg\":\"HS256\",\"kid\":\"h\"}", claims, bytes, len);

	expect(set, token, NOW, wanted, claims);
	free(token);
}

#define WHO "{\"sub\":\"u\",\"tenant\":\"t\","
#define EXP "\"exp\":1700000100,"

static void
test_times(void)
{
	static const ClaimCase cases[] = {
		{WHO "\"x\":1}", NO_EXP},
		{WHO "\"exp\":1700000001}", ""},
		{WHO "\"exp\":1700000000}", OVER},
		{WHO "\"exp\":1699999999}", OVER},
		{WHO "\"exp\":1700000001.0}", ""},
		{WHO "\"exp\":1.700000001e9}", ""},
		{WHO "\"exp\":1700000000.9}", OVER},
		{WHO "\"exp\":1699999999.9}", OVER},
		{WHO "\"exp\":0}", OVER},
		{WHO "\"exp\":-1}", NO_TIME},
		{WHO "\"exp\":-0.5}", NO_TIME},
		{WHO "\"exp\":253402300799}", ""},
		{WHO "\"exp\":253402300800}", NO_TIME},
		{WHO "\"exp\":9223372036854775807}", NO_TIME},
		{WHO "\"exp\":9223372036854775808}", NO_CLAIMS},
		{WHO "\"exp\":1e300}", NO_TIME},
		{WHO "\"exp\":1e999}", NO_CLAIMS},
		{WHO "\"exp\":\"1700000100\"}", NO_TIME},
		{WHO "\"exp\":null}", NO_TIME},
		{WHO "\"exp\":true}", NO_TIME},
		{WHO "\"exp\":[1700000100]}", NO_TIME},
		{WHO EXP "\"nbf\":1700000000}", ""},
		{WHO EXP "\"nbf\":1700000001}", EARLY},
		{WHO EXP "\"nbf\":1700000000.1}", EARLY},
		{WHO EXP "\"nbf\":1699999999.9}", ""},
		{WHO EXP "\"nbf\":\"1\"}", NO_TIME},
		{WHO EXP "\"iat\":1700000000}", ""},
		{WHO EXP "\"iat\":1700000000.9}", ""},
		{WHO EXP "\"iat\":1700000001}", FUTURE},
		{WHO EXP "\"iat\":false}", NO_TIME},
		{WHO EXP "\"exp\":1700000200}", NO_CLAIMS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		claims_are(cases[i].claims, cases[i].wanted);
	rules.skew = 30;
	claims_are(WHO "\"exp\":1699999971}", "");
	claims_are(WHO "\"exp\":1699999970}", OVER);
	claims_are(WHO EXP "\"nbf\":1700000030}", "");
	claims_are(WHO EXP "\"nbf\":1700000031}", EARLY);
	claims_are(WHO EXP "\"iat\":1700000030}", "");
	claims_are(WHO EXP "\"iat\":1700000031}", FUTURE);
	rules.skew = 0;
}

static void
test_audiences(void)
{
	claims_are(WHO EXP "\"aud\":\"api\"}", "the token is for an audience, and none is configured");
	rules.audience = "api";
	claims_are(WHO EXP "\"aud\":\"api\"}", "");
	claims_are(WHO EXP "\"aud\":[\"other\",\"api\"]}", "");
	claims_are(WHO EXP "\"aud\":[\"other\"]}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":[]}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":\"API\"}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":\"api other\"}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":\"\"}", OTHER_AUD);
	claims_are(WHO EXP "\"x\":1}", OTHER_AUD);
	claims_are(WHO EXP "\"aud\":[\"api\",7]}",
			   "the token's aud is neither a text nor a list of texts");
	claims_are(WHO EXP "\"aud\":{\"api\":1}}",
			   "the token's aud is neither a text nor a list of texts");
	claims_are(WHO EXP "\"aud\":null}", "the token's aud is neither a text nor a list of texts");
	rules.audience = "";
	claims_are(WHO EXP "\"iss\":\"https://any\"}", "");
	rules.issuer = "https://id";
	claims_are(WHO EXP "\"iss\":\"https://id\"}", "");
	claims_are(WHO EXP "\"iss\":\"https://id/\"}", "the token is of another issuer");
	claims_are(WHO EXP "\"iss\":[\"https://id\"]}", "the token is of another issuer");
	claims_are(WHO EXP "\"x\":1}", "the token is of another issuer");
	rules.issuer = "";
}

static void
test_who(void)
{
	static const ClaimCase cases[] = {
		{"{" EXP "\"sub\":\"u\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"Acme\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"-a\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"a b\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"a'--\"}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":[\"a\"]}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":null}", NO_TENANT},
		{"{" EXP "\"sub\":\"u\",\"tenant\":\"a-1_b\"}", ""},
		{"{" EXP "\"tenant\":\"a\"}", NO_SUB},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"\"}", NO_SUB},
		{"{" EXP "\"tenant\":\"a\",\"sub\":7}", NO_SUB},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"\\u0000\"}", NO_CLAIMS},
		{"{" EXP "\"tenant\":\"a\",\"sub\":\"a\",\"sub\":\"b\"}", NO_CLAIMS},
		{WHO EXP "\"sid\":\"\"}", "the token's sid is no text, empty or too long"},
		{WHO EXP "\"sid\":1}", "the token's sid is no text, empty or too long"},
		{WHO EXP "\"actor_type\":\"service\"}", ""},
		{WHO EXP "\"actor_type\":\"anonymous\"}",
		 "the token's actor_type is neither user nor service"},
		{WHO EXP "\"scope\":\"log:read  log:append:order\"}", ""},
		{WHO EXP "\"scopes\":[\"log:read\"]}", ""},
		{WHO EXP "\"scope\":[\"log:read admin\"]}", NO_SCOPE},
		{WHO EXP "\"scopes\":[1]}", NO_SCOPE},
		{WHO EXP "\"scopes\":{}}", NO_SCOPE},
		{WHO EXP "\"scope\":null}", NO_SCOPE},
		{WHO EXP "\"roles\":\"clerk\"}", ""},
		{WHO EXP "\"roles\":[null]}",
		 "the token's roles are neither words nor a list of words, or too many"},
		{"[]", NO_CLAIMS},
		{"", NO_FORM},
		{"{", NO_CLAIMS},
		{"{} {}", NO_CLAIMS},
		{"\xff", NO_CLAIMS},
	};
	char long_sub[400] = "{" EXP "\"tenant\":\"a\",\"sub\":\"";
	size_t at = strlen(long_sub);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		claims_are(cases[i].claims, cases[i].wanted);
	memset(long_sub + at, 'u', JWT_SUBJECT_MAX);
	strcpy(long_sub + at + JWT_SUBJECT_MAX, "\"}");
	claims_are(long_sub, "");
	strcpy(long_sub + at + JWT_SUBJECT_MAX, "u\"}");
	claims_are(long_sub, NO_SUB);
	rules.tenant_claim = "https://example.com/tenant";
	claims_are("{" EXP "\"sub\":\"u\",\"https://example.com/tenant\":\"a\"}", "");
	claims_are(WHO EXP "\"x\":1}", NO_TENANT);
	rules.tenant_claim = "tenant";
	rules.default_tenant = "default";
	claims_are("{" EXP "\"sub\":\"u\"}", "");
	claims_are("{" EXP "\"sub\":\"u\",\"tenant\":\"\"}", NO_TENANT);
	rules.default_tenant = "";
}

static void
test_identity(void)
{
	char *token = signed_with(
		"e", "{\"sub\": \"u-7\", \"tenant\": \"acme\", \"sid\": \"s-1\", \"iat\": "
			 "1699999990.7, \"exp\": 1700000100.7, \"roles\": [\"clerk\"], \"scope\": "
			 "\"log:read a log:read\", \"scopes\": [\"b\", \"a\"]}");
	const char *reason = NULL;
	Identity *who = jwt_verify(set, &rules, token, strlen(token), NOW, &reason);

	ok(who != NULL && reason == NULL, "an identity");
	if (who != NULL)
		ok(strcmp(who->tenant, "acme") == 0 && strcmp(who->user, "u-7") == 0 &&
			   strcmp(who->session, "s-1") == 0 && strcmp(who->actor_type, "user") == 0 &&
			   !who->is_key && !who->anonymous && who->issued_at == 1699999990 &&
			   who->expires_at == 1700000100 && who->nroles == 1 &&
			   strcmp(who->roles[0], "clerk") == 0 && who->nscopes == 3 &&
			   strcmp(who->scopes[0], "log:read") == 0 && strcmp(who->scopes[1], "a") == 0 &&
			   strcmp(who->scopes[2], "b") == 0,
		   "has all that the claims say");
	identity_release(who);
	free(token);
}

static KeySet *
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

int
main(void)
{
	set = make_set();
	test_examples();
	test_headers();
	test_confusion();
	test_other_keys();
	test_signatures();
	test_malleable();
	test_forms();
	test_single_key();
	test_times();
	test_audiences();
	test_who();
	test_identity();
	keys_free(set);
	printf("1..%d\n", tests);
	return failures > 0;
}
