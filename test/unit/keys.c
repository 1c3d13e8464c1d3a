/*
 * test/unit/keys.c
 *	  Keys from JSON and from files: what is taken, and what is refused before any token is.
 *
 * unit sources: -lcjose -ljansson -lcrypto
 */
#include "jwt.h"
#include "keys.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

static char dir[] = "/tmp/usherd-keys-XXXXXX";
static char error[512];

#define N                                                                                            \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4" \
	"QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdb" \
	"BYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-D" \
	"WNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define RSA "\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQAB\""
#define X   "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y   "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define EC  "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\""
#define OCT "\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\""

static const struct
{
	const char *json;
	const char *wanted; /* a part of the error, or NULL */
	int keys, skipped;
} cases[] = {
	{"{" RSA ",\"alg\":\"RS256\"}", NULL, 1, 0},
	{"{" RSA ",\"alg\":\"PS256\",\"kid\":\"a\"}", NULL, 1, 0},
	{"{" EC ",\"alg\":\"ES256\",\"use\":\"sig\",\"key_ops\":[\"verify\"]}", NULL, 1, 0},
	{"{" OCT ",\"alg\":\"HS256\"}", NULL, 1, 0},
	{"{\"keys\":[{" RSA ",\"alg\":\"RS256\",\"kid\":\"a\"},{" EC
	 ",\"alg\":\"ES256\",\"kid\":\"b\"}]}",
	 NULL, 2, 0},
	/* what an issuer's set holds besides */
	{"{\"keys\":[{" RSA ",\"alg\":\"RS256\",\"kid\":\"a\"},{" RSA
	 ",\"alg\":\"RSA-OAEP\",\"use\":\"enc\",\"kid\":\"b\"},{" RSA
	 ",\"alg\":\"RS512\",\"kid\":\"c\"},{" RSA
	 ",\"alg\":\"RS256\",\"key_ops\":[\"encrypt\"],\"kid\":\"d\"}]}",
	 NULL, 1, 3},
	{"{" RSA ",\"alg\":\"RS256\",\"use\":\"enc\"}", "no key", 0, 0},
	/* the algorithm */
	{"{" RSA "}", "names no algorithm", 0, 0},
	{"{" RSA ",\"alg\":\"HS256\"}", "type is not that of HS256", 0, 0},
	{"{" RSA ",\"alg\":\"ES256\"}", "type is not that of ES256", 0, 0},
	{"{" EC ",\"alg\":\"RS256\"}", "type is not that of RS256", 0, 0},
	{"{" OCT ",\"alg\":\"RS256\"}", "type is not that of RS256", 0, 0},
	{"{" RSA ",\"alg\":\"none\"}", "no key", 0, 0},
	/* ids */
	{"{\"keys\":[{" RSA ",\"alg\":\"RS256\",\"kid\":\"a\"},{" EC
	 ",\"alg\":\"ES256\",\"kid\":\"a\"}]}",
	 "two keys have the id", 0, 0},
	{"{\"keys\":[{" RSA ",\"alg\":\"RS256\"},{" EC ",\"alg\":\"ES256\",\"kid\":\"a\"}]}",
	 "needs its id", 0, 0},
	{"{\"keys\":[{" RSA ",\"alg\":\"RS256\",\"kid\":\"a\"},{" EC ",\"alg\":\"ES256\"}]}",
	 "needs its id", 0, 0},
	{"{" RSA ",\"alg\":\"RS256\",\"kid\":7}", "a text", 0, 0},
	/* weak or broken */
	{"{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQ\",\"alg\":\"RS256\"}", "n or e", 0, 0},
	{"{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AAAB\",\"alg\":\"RS256\"}", "n or e", 0, 0},
	{"{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQAA\",\"alg\":\"RS256\"}", "n or e", 0, 0},
	{"{\"kty\":\"RSA\",\"n\":\"" N "\",\"alg\":\"RS256\"}", "n or e", 0, 0},
	{"{\"kty\":\"RSA\",\"n\":\"" N "=\",\"e\":\"AQAB\",\"alg\":\"RS256\"}", "n or e", 0, 0},
	{"{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTc\",\"e\":\"AQAB\",\"alg\":"
	 "\"RS256\"}",
	 "2048", 0, 0},
	{"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X "\",\"y\":\"" Y "\",\"alg\":\"ES256\"}",
	 "P-256", 0, 0},
	{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" X "\",\"alg\":\"ES256\"}",
	 "not a key of its type", 0, 0},
	{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"alg\":\"ES256\"}", "32 bytes", 0, 0},
	{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"" Y "\",\"alg\":\"ES256\"}",
	 "32 bytes", 0, 0},
	{"{\"kty\":\"oct\",\"k\":\"c2hvcnQ\",\"alg\":\"HS256\"}", "at least 32 bytes", 0, 0},
	{"{\"kty\":\"oct\",\"alg\":\"HS256\"}", "at least 32 bytes", 0, 0},
	{"{\"kty\":\"oct\",\"k\":\"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUlJQklqQU5CZ2txaGtpRzl3MEI\",\"alg\":"
	 "\"HS256\"}",
	 "PEM", 0, 0},
	/* JSON */
	{"", "not JSON", 0, 0},
	{"[]", "neither a key", 0, 0},
	{"{\"keys\":{}}", "neither a key", 0, 0},
	{"{\"keys\":[]}", "no key", 0, 0},
	{"{\"keys\":[1]}", "an object", 0, 0},
	{"{" RSA ",\"alg\":\"none\",\"alg\":\"RS256\"}", "not JSON", 0, 0},
};

static void
test_cases(void)
{
	char what[120];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		KeySet *set = keys_parse(cases[i].json, strlen(cases[i].json), error, sizeof(error));
		bool good = cases[i].wanted == NULL ? set != NULL && set->nkeys == cases[i].keys &&
												  set->skipped == cases[i].skipped
											: set == NULL && strstr(error, cases[i].wanted) != NULL;

		snprintf(what, sizeof(what), "keys %zu: %s", i,
				 cases[i].wanted ? cases[i].wanted : "taken");
		ok(good, what);
		if (!good)
			printf("# %s\n", error);
		keys_free(set);
	}
}

static void
path_of(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", dir, name);
}

static void
write_file(const char *name, const char *text, mode_t mode)
{
	char path[200];
	FILE *file;

	path_of(name, path, sizeof(path));
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
	chmod(path, mode);
}

static void
write_pem(const char *name, EVP_PKEY *key, bool private_part, mode_t mode)
{
	char path[200];
	FILE *file;

	path_of(name, path, sizeof(path));
	file = fopen(path, "w");
	if (private_part)
		PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	else
		PEM_write_PUBKEY(file, key);
	fclose(file);
	chmod(path, mode);
}

static void
forget(const char *name)
{
	char path[200];

	path_of(name, path, sizeof(path));
	unlink(path);
}

static void
refused(const char *wanted, const char *what)
{
	KeySet *set = keys_load(dir, error, sizeof(error));
	bool good = set == NULL && strstr(error, wanted) != NULL;

	ok(good, what);
	if (!good)
		printf("# %s\n", set ? "it was taken" : error);
	keys_free(set);
}

/* Does what `signer` signs satisfy the set? */
static bool
verifies(const KeySet *set, const Key *signer)
{
	static const JwtRules rules = {"", "", "tenant", "", 0};
	json_t *claims = json_pack("{s:s, s:s, s:i}", "sub", "u", "tenant", "t", "exp", 2000000000);
	char *token = signer ? jwt_sign(signer, claims) : NULL;
	const char *reason = NULL;
	Identity *identity = token ? jwt_verify(set, &rules, token, strlen(token), 1700000000, &reason)
							   : NULL;
	bool good = identity != NULL;

	if (!good)
		printf("# %s\n", reason ? reason : "cannot sign");
	identity_release(identity);
	free(token);
	json_decref(claims);
	return good;
}

static void
test_directory(EVP_PKEY *rsa, EVP_PKEY *ec)
{
	char path[200];
	KeySet *all, *public;

	refused("there is no key in it", "an empty directory");
	write_pem("a.RS256.pem", rsa, true, 0600);
	write_pem("b.PS256.pem", rsa, true, 0600);
	write_pem("c.d.ES256.pem", ec, true, 0640);
	write_file("h.json", "{\"kid\":\"h\",\"alg\":\"HS256\"," OCT "}", 0600);
	write_file("README", "no key", 0644);
	write_file(".hidden.json", "no key", 0644);
	all = keys_load(dir, error, sizeof(error));
	ok(all != NULL && all->nkeys == 4,
	   "PEM and JSON files; what is named otherwise is not looked at");
	if (all == NULL)
	{
		printf("Bail out! %s\n", error);
		exit(1);
	}
	ok(keys_find(all, "c.d") != NULL && keys_find(all, "c.d")->algorithm == KEY_ES256 &&
		   keys_find(all, "a")->algorithm == KEY_RS256,
	   "the file's name gives id and algorithm");
	for (int i = 0; i < all->nkeys; i++)
		ok(all->keys[i].signs && verifies(all, &all->keys[i]), all->keys[i].kid);

	forget("h.json");
	write_pem("a.RS256.pem", rsa, false, 0644);
	write_pem("b.PS256.pem", rsa, false, 0644);
	write_pem("c.d.ES256.pem", ec, false, 0644);
	public = keys_load(dir, error, sizeof(error));
	ok(public != NULL && public->nkeys == 3 && keys_signing(public, NULL) == NULL,
	   "public keys do not sign");
	for (int i = 0; public != NULL && i < public->nkeys; i++)
		ok(verifies(public, keys_find(all, public->keys[i].kid)), "but verify");
	keys_free(public);
	keys_free(all);

	write_pem("a.RS256.pem", rsa, true, 0644);
	refused("everybody can read it", "a private key that everybody can read");
	write_pem("a.RS256.pem", ec, false, 0644);
	refused("type is not that of RS256", "an EC key under an RSA algorithm's name");
	write_pem("a.HS256.pem", rsa, false, 0644);
	forget("a.RS256.pem");
	refused("HS256", "a PEM file as HS256's secret");
	forget("a.HS256.pem");
	write_pem("a.pem", rsa, false, 0644);
	refused("not named", "a PEM file without an algorithm");
	forget("a.pem");
	write_file("a.RS256.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0644);
	refused("no private key, public key or certificate", "a PEM file without a key");
	forget("a.RS256.pem");
	write_file("z.json", "{\"keys\":[{\"kid\":\"b\",\"alg\":\"ES256\"," EC "}]}", 0644);
	refused("two keys have the id \"b\"", "the same id in two files");
	write_file("z.json", "{\"k\":\"very secret\",,", 0644);
	refused("z.json: not JSON", "a broken file");
	ok(strstr(error, "very secret") == NULL, "what is in it is not told");
	forget("z.json");
	path_of("nothing", path, sizeof(path));
	ok(keys_load(path, error, sizeof(error)) == NULL && strstr(error, path) != NULL,
	   "a file that does not exist");
	forget("b.PS256.pem"), forget("c.d.ES256.pem"), forget("README"), forget(".hidden.json");
}

static EVP_PKEY *
rsa_key(unsigned bits)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) bits);
}

static void
test_pem_weak(void)
{
	EVP_PKEY *small = rsa_key(1024), *p384 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"),
			 *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	write_pem("a.RS256.pem", small, true, 0600);
	refused("2048", "an RSA key of 1024 bits");
	forget("a.RS256.pem");
	write_pem("a.ES256.pem", p384, true, 0600);
	refused("P-256", "an EC key of another curve");
	write_pem("a.ES256.pem", ed, true, 0600);
	refused("neither an RSA nor an EC key", "an Ed25519 key");
	forget("a.ES256.pem");
	EVP_PKEY_free(small), EVP_PKEY_free(p384), EVP_PKEY_free(ed);
}

static void
test_generated(void)
{
	static const KeyAlgorithm algorithms[] = {KEY_HS256, KEY_RS256, KEY_ES256, KEY_PS256};

	for (size_t i = 0; i < 4; i++)
	{
		json_t *jwk = keys_generate(algorithms[i], "new");
		char *text = json_dumps(jwk, 0);
		KeySet *set = keys_parse(text, strlen(text), error, sizeof(error));
		json_t *public = set ? keys_public(set) : NULL;
		char *shown = json_dumps(public, 0);

		ok(set != NULL && verifies(set, keys_signing(set, NULL)) &&
			   keys_signing(set, "other") == NULL,
		   keys_algorithm_name(algorithms[i]));
		ok(strstr(shown, "\"d\"") == NULL && strstr(shown, "\"k\"") == NULL &&
			   strstr(shown, "\"p\"") == NULL,
		   "its public part has no private one");
		free(text), free(shown);
		json_decref(jwk), json_decref(public);
		keys_free(set);
	}
}

int
main(void)
{
	EVP_PKEY *rsa = rsa_key(2048), *ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

	if (mkdtemp(dir) == NULL)
		return 1;
	test_cases();
	test_directory(rsa, ec);
	test_pem_weak();
	test_generated();
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	rmdir(dir);
	return tap_end();
}
