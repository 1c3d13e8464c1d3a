/*
 * gateway/lib/key_make.c
 *	  New keys, and what others may see of keys.
 */
#include <jansson.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"

static json_t *
described(const cjose_jwk_t *jwk, bool private_part, KeyAlgorithm algorithm, const char *kid)
{
	char *text = cjose_jwk_to_json(jwk, private_part, NULL);
	json_t *json = text ? json_loads(text, 0, NULL) : NULL;

	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
	if (json == NULL)
		return NULL;
	if (kid[0] != '\0')
		json_object_set_new(json, "kid", json_string(kid));
	json_object_set_new(json, "use", json_string("sig"));
	json_object_set_new(json, "alg", json_string(keys_algorithm_name(algorithm)));
	return json;
}

json_t *
keys_generate(KeyAlgorithm algorithm, const char *kid)
{
	cjose_jwk_t *jwk = NULL;
	json_t *json = NULL;

	switch (algorithm)
	{
		case KEY_HS256:
			jwk = cjose_jwk_create_oct_random(KEYS_SECRET_MIN * 8, NULL);
			break;
		case KEY_ES256:
			jwk = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);
			break;
		case KEY_RS256:
		case KEY_PS256:
			jwk = cjose_jwk_create_RSA_random(KEYS_RSA_BITS_MIN, NULL, 0, NULL);
			break;
		case KEY_NO_ALGORITHM:
			break;
	}
	if (jwk != NULL)
		json = described(jwk, true, algorithm, kid);
	cjose_jwk_release(jwk);
	ERR_clear_error();
	return json;
}

json_t *
keys_public(const KeySet *set)
{
	json_t *keys = json_array();

	for (int i = 0; i < set->nkeys; i++)
		if (set->keys[i].algorithm != KEY_HS256)
			json_array_append_new(
				keys, described(set->keys[i].jwk, false, set->keys[i].algorithm, set->keys[i].kid));
	return json_pack("{s:o}", "keys", keys);
}
