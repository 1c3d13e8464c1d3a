/*
 * test/unit/jwt.c
 *	  Tokens: the examples of RFC 7515, and every way to forge or bend one.
 *
 * unit sources: -lcjose -ljansson -lcrypto
 */
#include "jwt_tokens.h"

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
	keys_free(set);
	return tap_end();
}
