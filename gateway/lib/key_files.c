/*
 * gateway/lib/key_files.c
 *	  Keys from files: a JWKS, or a directory of JSON and PEM files.
 *
 * A file that holds a secret or a private key must not be readable by everybody.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base64url.h"
#include "keys.h"

/* A number of the key as a member of the JWK, with zeros in front up to that many bytes. */
static bool
put_number(json_t *jwk, const char *name, const EVP_PKEY *pkey, const char *parameter, int bytes)
{
	BIGNUM *number = NULL;
	bool good = false;

	if (EVP_PKEY_get_bn_param(pkey, parameter, &number) == 1)
	{
		int len = BN_num_bytes(number) > bytes ? BN_num_bytes(number) : bytes;
		unsigned char *binary = malloc((size_t) len + 1);
		char *text = malloc(base64url_encoded((size_t) len) + 1);

		if (binary == NULL || text == NULL)
			abort();
		good = BN_bn2binpad(number, binary, len) == len;
		base64url_encode(binary, (size_t) (good ? len : 0), text);
		json_object_set_new(jwk, name, json_string(text));
		explicit_bzero(binary, (size_t) len);
		explicit_bzero(text, strlen(text));
		free(binary);
		free(text);
	}
	BN_clear_free(number);
	return good;
}

static bool
put_rsa(json_t *jwk, const EVP_PKEY *pkey, bool with_private)
{
	static const char *const names[][2] = {
		{"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
		{"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
		{"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
	};
	bool good = put_number(jwk, "n", pkey, OSSL_PKEY_PARAM_RSA_N, 0) &&
				put_number(jwk, "e", pkey, OSSL_PKEY_PARAM_RSA_E, 0);

	json_object_set_new(jwk, "kty", json_string("RSA"));
	for (size_t i = 0; good && with_private && i < sizeof(names) / sizeof(names[0]); i++)
		good = put_number(jwk, names[i][0], pkey, names[i][1], 0);
	return good;
}

static bool
put_ec(json_t *jwk, const EVP_PKEY *pkey, bool with_private)
{
	char group[32] = "";
	bool p256 = EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
				strcmp(group, "prime256v1") == 0;

	json_object_set_new(jwk, "kty", json_string("EC"));
	json_object_set_new(jwk, "crv", json_string(p256 ? "P-256" : "other"));
	return put_number(jwk, "x", pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32) &&
		   put_number(jwk, "y", pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32) &&
		   (!with_private || put_number(jwk, "d", pkey, OSSL_PKEY_PARAM_PRIV_KEY, 32));
}

/* PKCS 8 (or the older forms), a public key, or a certificate.  No password is asked for. */
static EVP_PKEY *
read_pem(const char *pem, size_t len, bool *with_private)
{
	static char no_password[] = "";
	BIO *bio = BIO_new_mem_buf(pem, (int) len);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, no_password);

	*with_private = pkey != NULL;
	if (pkey == NULL && BIO_reset(bio) == 1)
		pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, no_password);
	if (pkey == NULL && BIO_reset(bio) == 1)
	{
		X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, no_password);

		pkey = certificate ? X509_get_pubkey(certificate) : NULL;
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error();
	return pkey;
}

bool
keys_add_pem(KeySet *set, const char *pem, size_t len, const char *kid, KeyAlgorithm algorithm,
			 char *error, size_t size)
{
	bool with_private = false, good = false;
	EVP_PKEY *pkey = read_pem(pem, len, &with_private);
	json_t *jwk = json_pack("{s:s, s:s}", "kid", kid, "alg", keys_algorithm_name(algorithm));

	if (jwk == NULL)
		snprintf(error, size, "the name is not UTF-8");
	else if (pkey == NULL || algorithm == KEY_HS256)
		snprintf(error, size, "no private key, public key or certificate of %s in PEM",
				 keys_algorithm_name(algorithm));
	else if (EVP_PKEY_is_a(pkey, "RSA")
				 ? !put_rsa(jwk, pkey, with_private)
				 : !EVP_PKEY_is_a(pkey, "EC") || !put_ec(jwk, pkey, with_private))
		snprintf(error, size, "neither an RSA nor an EC key");
	else
		good = keys_add(set, jwk, error, size);
	json_decref(jwk);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return good;
}

/* The file's bytes and their mode, or NULL with an error. */
static char *
read_file(int dir, const char *name, size_t *len, mode_t *mode, char *error, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *data = NULL;
	ssize_t n = 0;

	*len = 0;
	if (fd < 0 || fstat(fd, &st) != 0)
		snprintf(error, size, "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_size > KEYS_FILE_MAX)
		snprintf(error, size, "not a file of at most %d bytes", KEYS_FILE_MAX);
	else if ((data = malloc((size_t) st.st_size + 1)) == NULL)
		abort();
	else
	{
		*mode = st.st_mode;
		while (*len < (size_t) st.st_size &&
			   (n = read(fd, data + *len, (size_t) st.st_size - *len)) > 0)
			*len += (size_t) n;
		if (n < 0)
		{
			snprintf(error, size, "%s", strerror(errno));
			free(data);
			data = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return data;
}

/* "NAME.ALGORITHM.pem": the name to kid. */
static KeyAlgorithm
pem_name(const char *file, char *kid, size_t size)
{
	size_t len = strlen(file);
	char algorithm[6];

	if (len < 11 || len - 10 >= size || file[len - 10] != '.')
		return KEY_NO_ALGORITHM;
	memcpy(algorithm, file + len - 9, 5);
	algorithm[5] = '\0';
	memcpy(kid, file, len - 10);
	kid[len - 10] = '\0';
	return keys_algorithm(algorithm);
}

static bool
ends_in(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static bool
add_file(KeySet *set, int dir, const char *file, char *error, size_t size)
{
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	char why[200] = "", kid[KEYS_KID_MAX + 1];
	int before = set->nkeys;
	mode_t mode = 0;
	size_t len;
	char *data = read_file(dir, file, &len, &mode, why, sizeof(why));
	bool good = false;

	if (data != NULL && ends_in(base, ".pem"))
	{
		KeyAlgorithm algorithm = pem_name(base, kid, sizeof(kid));

		if (algorithm == KEY_NO_ALGORITHM)
			snprintf(why, sizeof(why), "it is not named KEY.ALGORITHM.pem, like 2026-01.ES256.pem");
		else
			good = keys_add_pem(set, data, len, kid, algorithm, why, sizeof(why));
	}
	else if (data != NULL)
		good = keys_add_json(set, data, len, why, sizeof(why));
	for (int i = before; good && i < set->nkeys; i++)
		if (set->keys[i].signs && (mode & S_IROTH) != 0)
		{
			snprintf(why, sizeof(why), "everybody can read it, and it holds what signs tokens");
			good = false;
		}
	if (!good)
		snprintf(error, size, "%s: %s", file, why);
	if (data != NULL)
		explicit_bzero(data, len);
	free(data);
	return good;
}

static int
wanted(const struct dirent *entry)
{
	return entry->d_name[0] != '.' &&
		   (ends_in(entry->d_name, ".pem") || ends_in(entry->d_name, ".json"));
}

static bool
add_directory(KeySet *set, int dir, const char *path, char *error, size_t size)
{
	struct dirent **entries;
	int n = scandir(path, &entries, wanted, alphasort);
	bool good = n >= 0;

	if (!good)
		snprintf(error, size, "%s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++)
	{
		good = good && add_file(set, dir, entries[i]->d_name, error, size);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return good;
}

KeySet *
keys_load(const char *path, char *error, size_t size)
{
	KeySet *set = calloc(1, sizeof(KeySet));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good;

	if (set == NULL)
		abort();
	good = dir >= 0 ? add_directory(set, dir, path, error, size)
					: add_file(set, AT_FDCWD, path, error, size);
	if (good && set->nkeys == 0)
	{
		snprintf(error, size, "%s: there is no key in it", path);
		good = false;
	}
	if (dir >= 0)
		close(dir);
	if (good)
		return set;
	keys_free(set);
	return NULL;
}
