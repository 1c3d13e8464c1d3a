/*
 * gateway/lib/keys.h
 *	  The keys that tokens are verified with, each for one algorithm.
 *
 * A set is read from a JWKS file, or from a directory with files `*.json` (JWK
 * or JWKS) and `NAME.ALGORITHM.pem`, e.g. `2026-01.ES256.pem`, where NAME is the
 * key's id.  A set is never changed once it is read; a secret's context is used by
 * one thread, the loop's.  No libpq, no loop.
 */
#ifndef USHERD_KEYS_H
#define USHERD_KEYS_H

#include <cjose/cjose.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

/* jansson's; its header does not go with json_check.h */
typedef struct json_t json_t;

typedef enum KeyAlgorithm
{
	KEY_NO_ALGORITHM,
	KEY_HS256,
	KEY_RS256,
	KEY_ES256,
	KEY_PS256,
} KeyAlgorithm;

typedef struct Key
{
	char *kid; /* "" only in a set of one */
	KeyAlgorithm algorithm;
	cjose_jwk_t *jwk;
	EVP_MAC_CTX *hmac; /* of a secret: begun with it, to be begun again for each token */
	size_t signature_bytes;
	bool signs; /* has the private part, or is a secret */
} Key;

typedef struct KeySet
{
	Key *keys;
	int nkeys;
	int skipped; /* entries that are no keys for us: for encryption, or of an algorithm that we have not */
} KeySet;

#define KEYS_MAX                    256
#define KEYS_HS256_BYTES            32
#define KEYS_FILE_MAX               (1 << 20)
#define KEYS_SECRET_MIN             32 /* bytes: RFC 7518, 3.2 */
#define KEYS_RSA_BITS_MIN           2048
#define KEYS_RSA_BITS_MAX           8192
#define KEYS_RSA_EXPONENT_BYTES_MAX 8
#define KEYS_KID_MAX                256

extern const char *keys_algorithm_name(KeyAlgorithm algorithm);
extern KeyAlgorithm keys_algorithm(const char *name); /* KEY_NO_ALGORITHM: not one of ours */

/* NULL: error says why, with the file's or the key's name and never what is in it. */
extern KeySet *keys_load(const char *path, char *error, size_t size);
extern KeySet *keys_parse(const char *json, size_t len, char *error, size_t size);
extern void keys_free(KeySet *set); /* NULL: nothing to do */

/* The key of that id; kid NULL (the token names none): the only key of a set of one.  NULL: there is none. */
extern const Key *keys_find(const KeySet *set, const char *kid);
/* The first key that can sign, or that of the id if it can. */
extern const Key *keys_signing(const KeySet *set, const char *kid);

/* A new key, with its private part, as a JWK. */
extern json_t *keys_generate(KeyAlgorithm algorithm, const char *kid);
/* What others may see of a set: {"keys": [...]} without private parts and secrets. */
extern json_t *keys_public(const KeySet *set);

/* For key_files.c: adds keys to a set, or says what is wrong with them. */
extern bool keys_add_json(KeySet *set, const char *json, size_t len, char *error, size_t size);
extern bool keys_add(KeySet *set, json_t *jwk, char *error, size_t size);
extern bool keys_add_pem(KeySet *set, const char *pem, size_t len, const char *kid,
						 KeyAlgorithm algorithm, char *error, size_t size);

#endif /* USHERD_KEYS_H */
