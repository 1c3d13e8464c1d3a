/*
 * gateway/lib/jwt.h
 *	  JSON Web Tokens (RFC 7519, compact JWS of RFC 7515): verified, and made for development.
 *
 * No claim is looked at before the signature is verified with a key that names
 * the one algorithm which the header must name, too.  Nothing that a header
 * refers to is ever fetched or believed.  No libpq, no loop; the time is given.
 */
#ifndef USHERD_JWT_H
#define USHERD_JWT_H

#include <stddef.h>

#include "keys.h"
#include "principal.h"

#define JWT_BYTES_MAX   8192
#define JWT_SUBJECT_MAX 255
#define JWT_TIME_MAX    INT64_C(253402300799) /* the end of the year 9999 */

/* "" where something is not asked for. */
typedef struct JwtRules
{
	const char *issuer; /* what "iss" must be; "": anything */
	const char *audience; /* what "aud" must name; "": a token that has an audience is refused */
	const char *tenant_claim; /* where the tenant stands: "tenant" */
	const char *default_tenant; /* of a token without that claim; "": it is refused */
	double skew; /* seconds that clocks may differ */
} JwtRules;

/* NULL: reason says why, in words that hold nothing of the token. */
extern Identity *jwt_verify(const KeySet *keys, const JwtRules *rules, const char *token,
							size_t len, double now, const char **reason);

/* Is it over at that time?  The same question as jwt_verify asks. */
extern bool jwt_expired(int64_t expires_at, double skew, double now);

/* A token with these claims, to be freed; NULL: the key cannot sign. */
extern char *jwt_sign(const Key *key, const json_t *claims);

#endif /* USHERD_JWT_H */
