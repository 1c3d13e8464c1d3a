/*
 * gateway/lib/authorization.h
 *	  The value of the header Authorization, taken apart.  Pure C.
 */
#ifndef USHERD_AUTHORIZATION_H
#define USHERD_AUTHORIZATION_H

#include "text.h"

typedef enum AuthorizationKind
{
	AUTHORIZATION_NONE, /* there is no header */
	AUTHORIZATION_TOKEN, /* Bearer, a JSON Web Token (or what is meant to be one) */
	AUTHORIZATION_KEY, /* Bearer or ApiKey, an API key */
	AUTHORIZATION_BAD,
} AuthorizationKind;

#define API_KEY_PREFIX    "usk_"
#define API_KEY_BYTES_MIN 24
#define API_KEY_BYTES_MAX 128

/* credential: the token or key, inside the value.  BAD: reason says why, without what was given. */
extern AuthorizationKind authorization_parse(Slice value, Slice *credential, const char **reason);

#endif /* USHERD_AUTHORIZATION_H */
