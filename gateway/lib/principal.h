/*
 * gateway/lib/principal.h
 *	  An identity: what is known of the one who asks.
 *
 * Pure C.  It is one block of memory and is counted; nobody but identity.c
 * changes it once it is made.  One thread: the loop's.
 */
#ifndef USHERD_PRINCIPAL_H
#define USHERD_PRINCIPAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Identity
{
	int references;
	bool anonymous;
	bool is_key; /* an API key, else a token or nobody */
	char *tenant; /* by name; the configured default for anonymous */
	char *user; /* the token's subject, the key's name; "" for nobody */
	char *session; /* the token's sid, or "" */
	char *actor_type; /* "user", "service", "anonymous" */
	char *rate_class; /* the key's own class of rate limits, or "" */
	char **roles;
	int nroles;
	char **scopes; /* "log:read", "log:append:order", "subscribe:order.**" ... */
	int nscopes;
	int64_t issued_at; /* Unix seconds; 0: not known */
	int64_t expires_at; /* 0: never */
	int64_t id; /* differs from every other identity's while usherd runs */
	size_t bytes; /* of memory, all in all */
	uint64_t checked; /* identity.c's: the revocations that were looked at */
} Identity;

#define IDENTITY_ROLES_MAX  64
#define IDENTITY_SCOPES_MAX 256

/* What an identity is made of: all of it is copied.  NULL texts are "". */
typedef struct IdentityParts
{
	bool anonymous, is_key;
	const char *tenant, *user, *session, *actor_type, *rate_class;
	const char *roles[IDENTITY_ROLES_MAX];
	size_t role_lens[IDENTITY_ROLES_MAX];
	int nroles;
	const char *scopes[IDENTITY_SCOPES_MAX];
	size_t scope_lens[IDENTITY_SCOPES_MAX];
	int nscopes;
	int64_t issued_at, expires_at;
} IdentityParts;

extern Identity *identity_make(const IdentityParts *parts); /* held for the caller */
extern Identity *identity_keep(Identity *identity);
extern void identity_release(Identity *identity); /* NULL: nothing to do */

/*
 * Adds the words of a text to scopes (or roles), once each.  The text must live until identity_make().
 * false: there are too many.
 */
extern bool identity_add_scopes(IdentityParts *parts, const char *text, size_t len);
extern bool identity_add_roles(IdentityParts *parts, const char *text, size_t len);

/* A tenant's name: a-z 0-9 _ -, not beginning with _ or -, at most 63 characters. */
extern bool identity_tenant_valid(const char *tenant, size_t len);

#endif /* USHERD_PRINCIPAL_H */
