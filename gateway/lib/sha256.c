/*
 * gateway/lib/sha256.c
 *	  SHA-256 with a context that is made once: fetching the algorithm costs more than hashing a token.
 */
#include "sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>

static EVP_MD_CTX *context;
static EVP_MD *algorithm;

void
sha256(const void *data, size_t len, unsigned char digest[SHA256_BYTES])
{
	if (context == NULL)
	{
		algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
		context = EVP_MD_CTX_new();
	}
	/* Without SHA-256 nobody can be told apart: that is no state to go on in. */
	if (algorithm == NULL || context == NULL || EVP_DigestInit_ex2(context, algorithm, NULL) != 1 ||
		EVP_DigestUpdate(context, data, len) != 1 || EVP_DigestFinal_ex(context, digest, NULL) != 1)
		abort();
}
