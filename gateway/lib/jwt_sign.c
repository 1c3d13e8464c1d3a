/*
 * gateway/lib/jwt_sign.c
 *	  Makes tokens, for development and tests.
 */
#include <jansson.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "jwt.h"

char *
jwt_sign(const Key *key, const json_t *claims)
{
	cjose_header_t *header = cjose_header_new(NULL);
	char *payload = json_dumps(claims, JSON_COMPACT), *token = NULL;
	cjose_jws_t *jws = NULL;
	const char *text = NULL;

	if (header != NULL && payload != NULL &&
		cjose_header_set(header, CJOSE_HDR_ALG, keys_algorithm_name(key->algorithm), NULL) &&
		cjose_header_set(header, "typ", "JWT", NULL) &&
		(key->kid[0] == '\0' || cjose_header_set(header, CJOSE_HDR_KID, key->kid, NULL)) &&
		(jws = cjose_jws_sign(key->jwk, header, (const uint8_t *) payload, strlen(payload),
							  NULL)) != NULL &&
		cjose_jws_export(jws, &text, NULL))
		token = strdup(text);
	cjose_jws_release(jws);
	if (header != NULL)
		cjose_header_release(header);
	free(payload);
	ERR_clear_error();
	return token;
}
