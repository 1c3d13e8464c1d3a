/*
 * gateway/identity.h
 *	  Who asks: from the Authorization header to tenant, user, roles and scopes.
 *
 * identity_of() answers from memory (a verified token is cached under its
 * SHA-256; keys of the API are cached, too) or goes to the database once and
 * calls back.  An identity is counted: hold it with identity_keep(), give it
 * back with identity_release().
 */
#ifndef USHERD_IDENTITY_H
#define USHERD_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addresses.h"
#include "lib/principal.h" /* Identity, identity_keep(), identity_release() */
#include "lib/text.h"

typedef enum IdentityOutcome
{
	IDENTITY_OK,
	IDENTITY_NONE, /* no credentials were given: *identity is the anonymous one */
	IDENTITY_INVALID, /* 401: reason says why, without any secret */
	IDENTITY_UNAVAILABLE, /* 503: the keys or the revocations could not be read yet */
	IDENTITY_PENDING, /* done() will be called */
	IDENTITY_LIMITED, /* 429: too many wrong ones came from the address to look into another */
} IdentityOutcome;

typedef void (*identity_done)(void *context, IdentityOutcome outcome, Identity *identity,
							  const char *reason);

/*
 * authorization: the header's value, or absent.  The identity that comes back is held for the caller.
 * When IDENTITY_PENDING, done() is called later, once, never from within.  address: where it comes from, which
 * its wrong ones count for; NULL when the caller sees to it that few come.
 */
extern IdentityOutcome identity_of(Slice authorization, const Address *address, Identity **identity,
								   const char **reason, identity_done done, void *context);

/*
 * Does a scope allow it?  what: "log:read", "log:append", "subscribe", "subscriptions", "admin" ...;
 * object: the category, pattern or name that it is about.  "log:append:order" allows "log:append" with
 * object "order"; "log:append" allows every object; "*" in a scope's object is a glob over dot-separated
 * segments.  Absent object: is it allowed on everything?  docs/gateway-identity.md has the grammar.
 */
extern bool identity_allows(const Identity *identity, const char *what, Slice object);
/* Is it allowed on anything at all?  For a route whose handler asks identity_allows() once it knows the object. */
extern bool identity_allows_some(const Identity *identity, const char *what);

/* Keys and settings from the configuration; false: error says what is wrong and nothing changed. */
extern bool identity_load(char *error, size_t size);

/* A revocation was read from the log: kind session, user, key or tenant; tokens issued before are refused. */
extern void
identity_revoked(const char *tenant, const char *kind, const char *id, int64_t not_before);
/* All retained revocations have been read: until then credentials are answered with IDENTITY_UNAVAILABLE. */
extern void identity_revocations_ready(bool ready);
/* Called with each identity that a revocation ends, so that open sockets can be closed. */
extern void identity_on_revoked(void (*callback)(const char *tenant, const char *kind,
												 const char *id, int64_t not_before));
extern bool identity_is_revoked(const Identity *identity);

typedef struct IdentityCounts
{
	int64_t verified, cached, refused; /* credentials, since the start */
	int64_t lookups; /* of API keys in the database */
	int entries; /* in memory: tokens and keys */
	int revocations;
	int keys; /* that tokens are verified with */
} IdentityCounts;

extern IdentityCounts identity_counts(void);

/* The time in Unix seconds; tests put their own in its place. */
extern double (*identity_clock)(void);

#endif /* USHERD_IDENTITY_H */
