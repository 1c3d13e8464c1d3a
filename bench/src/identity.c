/*
 * bench/src/identity.c
 *	  How many tokens a second are verified, and found in the cache; beside OpenSSL's bare verification.
 *
 * Prints "NAME RATE BARE" a line: tokens a second by jwt_verify(), and signatures a second by
 * EVP_DigestVerify() (HMAC() for HS256) over the same bytes.  "cached RATE 0" is the SHA-256 of the
 * token, the look-up among 10,000 and the clock, as identity.c does it for a token that it knows.
 */
#include <jansson.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base64url.h"
#include "lib/jwt.h"
#include "lib/token_cache.h"

static const JwtRules rules = {"https://id.example.com", "usher", "tenant", "", 30};
static double seconds;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static json_t *
claims_of(int i)
{
	char user[20];

	snprintf(user, sizeof(user), "user-%d", i);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:[s]}", "iss",
					 "https://id.example.com", "aud", "usher", "sub", user, "tenant", "acme", "sid",
					 "0192f0c1-7f4e-7c3a-9d7e-8f1f5a3b2c1d", "iat", 1700000000, "exp", 2000000000,
					 "scope", "log:read log:append:order log:append:invoice subscribe:order.**",
					 "roles", "clerk");
}

static void
fail(const char *what)
{
	fprintf(stderr, "identity: %s\n", what);
	exit(1);
}

static double
verified(const KeySet *set, const char *token)
{
	size_t len = strlen(token);
	double begin = now(), end = begin + seconds;
	long n = 0;

	for (; n % 16 != 0 || now() < end; n++)
	{
		const char *reason;
		Identity *who = jwt_verify(set, &rules, token, len, 1700000100, &reason);

		if (who == NULL)
			fail(reason);
		identity_release(who);
	}
	return (double) n / (now() - begin);
}

/* The bare arithmetic: a key of the same kind, the same text, nothing else. */
static EVP_PKEY *
bare_key(KeyAlgorithm algorithm)
{
	return algorithm == KEY_ES256 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
								  : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048);
}

static void
prepare(EVP_PKEY_CTX *context, KeyAlgorithm algorithm)
{
	if (algorithm == KEY_PS256)
	{
		EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST);
	}
}

static double
bare(KeyAlgorithm algorithm, const char *token)
{
	const unsigned char *text = (const unsigned char *) token;
	size_t len = (size_t) (strrchr(token, '.') - token), signature_len = 1024;
	unsigned char signature[1024];
	EVP_PKEY *key = algorithm == KEY_HS256 ? NULL : bare_key(algorithm);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *padding;
	double begin, end;
	long n = 0;

	if (key != NULL)
	{
		EVP_DigestSignInit(context, &padding, EVP_sha256(), NULL, key);
		prepare(padding, algorithm);
		if (EVP_DigestSign(context, signature, &signature_len, text, len) != 1)
			fail("cannot sign");
	}
	begin = now();
	end = begin + seconds;
	for (; n % 16 != 0 || now() < end; n++)
	{
		unsigned mac_len = sizeof(signature);

		if (key == NULL)
		{
			HMAC(EVP_sha256(), "0123456789abcdef0123456789abcdef", 32, text, len, signature,
				 &mac_len);
			continue;
		}
		EVP_MD_CTX_reset(context);
		EVP_DigestVerifyInit(context, &padding, EVP_sha256(), NULL, key);
		prepare(padding, algorithm);
		if (EVP_DigestVerify(context, signature, signature_len, text, len) != 1)
			fail("cannot verify");
	}
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return (double) n / (now() - begin);
}

static void
one_algorithm(KeyAlgorithm algorithm)
{
	json_t *jwk = keys_generate(algorithm, "main"), *claims = claims_of(1);
	char *text = json_dumps(jwk, 0), error[200], *token;
	KeySet *set = keys_parse(text, strlen(text), error, sizeof(error));

	if (set == NULL)
		fail(error);
	token = jwt_sign(&set->keys[0], claims);
	printf("%s %.0f %.0f\n", keys_algorithm_name(algorithm), verified(set, token),
		   bare(algorithm, token));
	free(token), free(text);
	json_decref(jwk), json_decref(claims);
	keys_free(set);
}

#define TOKENS 10000

static double
cached(void)
{
	json_t *jwk = keys_generate(KEY_ES256, "main");
	char *text = json_dumps(jwk, 0), error[200], **tokens = malloc(sizeof(char *) * TOKENS);
	KeySet *set = keys_parse(text, strlen(text), error, sizeof(error));
	TokenCache *cache = token_cache_make(TOKENS, (size_t) TOKENS * 4096);
	unsigned char digest[SHA256_BYTES];
	const char *reason;
	double begin, end;
	long n = 0;

	for (int i = 0; i < TOKENS; i++)
	{
		json_t *claims = claims_of(i);
		Identity *who;

		tokens[i] = jwt_sign(&set->keys[0], claims);
		who = jwt_verify(set, &rules, tokens[i], strlen(tokens[i]), 1700000100, &reason);
		sha256(tokens[i], strlen(tokens[i]), digest);
		token_cache_put(cache, digest, who, 2000000000);
		identity_release(who);
		json_decref(claims);
	}
	begin = now();
	for (end = begin + seconds; n % 1000 != 0 || now() < end; n++)
	{
		const char *token = tokens[n * 7919 % TOKENS];
		struct timespec t;
		bool over;

		clock_gettime(CLOCK_REALTIME, &t);
		sha256(token, strlen(token), digest);
		if (token_cache_find(cache, digest, 1700000100, &over) == NULL)
			fail("a token is not in the cache");
	}
	return (double) n / (now() - begin);
}

int
main(int argc, char **argv)
{
	seconds = argc > 1 ? strtod(argv[1], NULL) : 2;
	one_algorithm(KEY_HS256);
	one_algorithm(KEY_RS256);
	one_algorithm(KEY_ES256);
	one_algorithm(KEY_PS256);
	printf("cached %.0f 0\n", cached());
	return 0;
}
