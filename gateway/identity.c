/*
 * gateway/identity.c
 *	  Who asks: tokens by their signature, API keys by the database, both remembered.
 *
 *		Authorization ─► token ─► cache ─► signature and claims (lib/jwt.c) ─┐
 *		              └► key ──► cache ─► usher.gateway_api_key(sha256) ─────┴► revoked? ─► identity
 *
 * What is remembered is known by its SHA-256 alone: no token and no key outlives
 * the request that brought it.  What was refused is, for a moment, in tables of
 * its own, where it takes nobody else's place; and an address that brings many
 * wrong ones waits before another of them is looked into.
 *
 * All of it is the loop's thread's.
 */
#include "identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "db.h"
#include "journal.h"
#include "limit.h"
#include "lib/authorization.h"
#include "lib/jwt.h"
#include "lib/revocations.h"
#include "lib/scope.h"
#include "lib/token_cache.h"

#define REVOCATIONS_MAX 200000
#define API_KEYS_MAX    10000
#define IDENTITY_BYTES  4096 /* a cache's memory, for each of its entries: more than most need */
#define LOOKUPS_MAX     64 /* keys that are being asked for */
#define REFUSED_SECONDS 5

static const char expired[] = "the token has expired";
static const char revoked[] = "the credential was revoked";
static const char unknown_key[] = "the API key is not known";

/* A key that the database is asked for, and those who wait for the answer. */
typedef struct Waiter
{
	identity_done done;
	void *context;
} Waiter;

typedef struct Lookup
{
	struct Lookup *next;
	unsigned char digest[SHA256_BYTES];
	Address address; /* of the first who asked */
	bool counts; /* for it */
	Waiter *waiters;
	size_t nwaiters, room;
} Lookup;

static struct
{
	KeySet *keys; /* NULL: no tokens are taken */
	JwtRules rules; /* its texts are ours */
	Identity *anonymous;
	TokenCache *tokens, *api_keys;
	RefusedTable refused_tokens, refused_keys;
	Revocations *revocations;
	bool ready;
	Lookup *lookups;
	int nlookups;
	void (*on_revoked)(const char *tenant, const char *kind, const char *id, int64_t not_before);
	IdentityCounts counts;
} who;

static const DbStatement api_key_statement = {
	"api_key",
	"SELECT tenant, name, scopes, rate_class, issued_at, expires_at FROM usher.gateway_api_key($1)",
	1, false};

static double
wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

double (*identity_clock)(void) = wall_clock;

/*
 * Revocations
 */

bool
identity_is_revoked(const Identity *identity)
{
	uint64_t generation = revocations_generation(who.revocations);

	if (identity->checked == generation)
		return false;
	if (revocations_has(who.revocations, identity))
		return true;
	/* Nobody else looks at this member. */
	((Identity *) identity)->checked = generation;
	return false;
}

typedef struct KeyName
{
	const char *tenant, *name;
} KeyName;

static bool
is_named(const Identity *key, void *context)
{
	const KeyName *wanted = context;

	return strcmp(key->tenant, wanted->tenant) == 0 && strcmp(key->user, wanted->name) == 0;
}

void
identity_revoked(const char *tenant, const char *kind, const char *id, int64_t not_before)
{
	RevocationKind known;

	if (!revocations_kind(kind, &known))
	{
		journal(JOURNAL_WARNING, "a revocation of an unknown kind is in the log: \"%s\"", kind);
		return;
	}
	revocations_add(who.revocations, tenant, known, id, not_before);
	/* A key that was made and dropped within one second is as old as its revocation: ask for it again. */
	if (known == REVOKE_KEY)
		token_cache_sweep(who.api_keys, is_named, &(KeyName){tenant, id});
	if (who.on_revoked != NULL)
		who.on_revoked(tenant, kind, id, not_before);
}

void
identity_revocations_ready(bool ready)
{
	who.ready = ready;
}

void
identity_on_revoked(void (*callback)(const char *tenant, const char *kind, const char *id,
									 int64_t not_before))
{
	who.on_revoked = callback;
}

/*
 * The caches
 */

/* What the cache has under the digest: held for the caller, and OK, or the reason why it is nothing any more. */
static bool
cached(TokenCache *cache, const unsigned char *digest, Identity **identity, const char **reason)
{
	bool over;
	Identity *found = token_cache_find(cache, digest, identity_clock(), &over);

	if (over && cache == who.tokens)
		*reason = expired;
	else if (found != NULL && identity_is_revoked(found))
	{
		token_cache_remove(cache, digest);
		*reason = revoked;
	}
	else if (found != NULL)
	{
		*identity = identity_keep(found);
		who.counts.cached++;
	}
	return *identity != NULL || *reason != NULL;
}

static IdentityOutcome
outcome_of(const Identity *identity)
{
	if (identity == NULL)
		who.counts.refused++;
	return identity != NULL ? IDENTITY_OK : IDENTITY_INVALID;
}

/*
 * Tokens
 */

static bool
may_try(const Address *address)
{
	LimitAnswer answer;

	return address == NULL || limit_may_try_credential(address, limit_clock(), &answer);
}

static void
was_wrong(const Address *address)
{
	if (address != NULL)
		limit_wrong_credential(address, limit_clock());
}

static IdentityOutcome
of_token(Slice token, const Address *address, Identity **identity, const char **reason)
{
	unsigned char digest[SHA256_BYTES];
	Identity *verified;

	if (who.keys == NULL)
		*reason = "no keys for tokens are configured";
	if (who.keys == NULL || token.len > JWT_BYTES_MAX)
	{
		*reason = *reason ? *reason : "the token is too long";
		return outcome_of(NULL);
	}
	sha256(token.data, token.len, digest);
	if (cached(who.tokens, digest, identity, reason) ||
		(*reason = refused_why(&who.refused_tokens, digest, identity_clock())) != NULL)
		return outcome_of(*identity);
	if (!may_try(address))
		return IDENTITY_LIMITED;
	verified = jwt_verify(who.keys, &who.rules, token.data, token.len, identity_clock(), reason);
	if (verified != NULL && identity_is_revoked(verified))
	{
		*reason = revoked;
		identity_release(verified);
	}
	else if (verified != NULL)
	{
		token_cache_put(who.tokens, digest, verified,
						(double) verified->expires_at + who.rules.skew);
		*identity = verified;
		who.counts.verified++;
	}
	if (*identity == NULL)
	{
		refused_put(&who.refused_tokens, digest, identity_clock() + REFUSED_SECONDS, *reason);
		was_wrong(address);
	}
	return outcome_of(*identity);
}

/*
 * API keys
 */

static Lookup *
lookup_of(const unsigned char *digest)
{
	Lookup *lookup = who.lookups;

	while (lookup != NULL && memcmp(lookup->digest, digest, SHA256_BYTES) != 0)
		lookup = lookup->next;
	return lookup;
}

static void
lookup_remove(Lookup *lookup)
{
	Lookup **link = &who.lookups;

	while (*link != lookup)
		link = &(*link)->next;
	*link = lookup->next;
	who.nlookups--;
}

static int64_t
number_at(const PGresult *result, const char *column)
{
	int field = PQfnumber(result, column);

	return field < 0 || PQgetisnull(result, 0, field)
			   ? 0
			   : strtoll(PQgetvalue(result, 0, field), NULL, 10);
}

static const char *
text_at(const PGresult *result, const char *column)
{
	int field = PQfnumber(result, column);

	return field < 0 ? "" : PQgetvalue(result, 0, field);
}

/* The identity of the key that was found, or NULL: the row is not what it should be. */
static Identity *
identity_of_row(const PGresult *result)
{
	IdentityParts parts;
	const char *scopes = text_at(result, "scopes");

	memset(&parts, 0, sizeof(parts));
	parts.is_key = true;
	parts.tenant = text_at(result, "tenant");
	parts.user = text_at(result, "name");
	parts.actor_type = "service";
	parts.rate_class = text_at(result, "rate_class");
	parts.issued_at = number_at(result, "issued_at");
	parts.expires_at = number_at(result, "expires_at");
	if (!identity_tenant_valid(parts.tenant, strlen(parts.tenant)) || parts.user[0] == '\0' ||
		!identity_add_scopes(&parts, scopes, strlen(scopes)))
		return NULL;
	return identity_make(&parts);
}

/* What the database said of a key: the identity, or NULL with the reason, or no answer. */
static IdentityOutcome
answer_of(const Lookup *lookup, DbOutcome outcome, const PGresult *result, Identity **identity,
		  const char **reason)
{
	double now = identity_clock(), until = now + config.api_key_cache_seconds;

	if (outcome != DB_DONE || result == NULL)
		return IDENTITY_UNAVAILABLE;
	if (PQntuples(result) == 1)
		*identity = identity_of_row(result);
	if (*identity == NULL)
		*reason = unknown_key;
	else if (identity_is_revoked(*identity))
		*reason = revoked;
	else if ((*identity)->expires_at != 0 && now >= (double) (*identity)->expires_at)
		*reason = "the API key has expired";
	else
	{
		if ((*identity)->expires_at != 0 && until > (double) (*identity)->expires_at)
			until = (double) (*identity)->expires_at;
		token_cache_put(who.api_keys, lookup->digest, *identity, until);
		who.counts.verified++;
		return IDENTITY_OK;
	}
	identity_release(*identity);
	*identity = NULL;
	refused_put(&who.refused_keys, lookup->digest, now + REFUSED_SECONDS, *reason);
	was_wrong(lookup->counts ? &lookup->address : NULL);
	return outcome_of(NULL);
}

static void
looked_up(void *context, DbOutcome outcome, PGresult *result)
{
	Lookup *lookup = context;
	Identity *identity = NULL;
	const char *reason = NULL;
	IdentityOutcome answer = answer_of(lookup, outcome, result, &identity, &reason);

	lookup_remove(lookup);
	for (size_t i = 0; i < lookup->nwaiters; i++)
		lookup->waiters[i].done(lookup->waiters[i].context, answer,
								identity ? identity_keep(identity) : NULL,
								identity ? NULL : reason);
	identity_release(identity);
	free(lookup->waiters);
	free(lookup);
}

static void
wait_for(Lookup *lookup, identity_done done, void *context)
{
	if (lookup->nwaiters == lookup->room)
	{
		lookup->room = lookup->room ? lookup->room * 2 : 4;
		lookup->waiters = realloc(lookup->waiters, lookup->room * sizeof(Waiter));
		if (lookup->waiters == NULL)
			abort();
	}
	lookup->waiters[lookup->nwaiters++] = (Waiter){done, context};
}

static Lookup *
look_up(const unsigned char *digest, const Address *address)
{
	Lookup *lookup = calloc(1, sizeof(Lookup));
	DbCall call = {.statement = &api_key_statement, .tenant = "", .done = looked_up};

	if (lookup == NULL)
		abort();
	memcpy(lookup->digest, digest, SHA256_BYTES);
	lookup->counts = address != NULL;
	if (address != NULL)
		lookup->address = *address;
	lookup->next = who.lookups;
	who.lookups = lookup;
	who.nlookups++;
	who.counts.lookups++;
	call.context = lookup;
	call.values[0] = (const char *) lookup->digest;
	call.lengths[0] = SHA256_BYTES;
	call.formats[0] = 1;
	db_submit(LANE_READ, &call);
	return lookup;
}

static IdentityOutcome
of_key(Slice key, const Address *address, Identity **identity, const char **reason,
	   identity_done done, void *context)
{
	unsigned char digest[SHA256_BYTES];
	Lookup *lookup;

	sha256(key.data, key.len, digest);
	if (cached(who.api_keys, digest, identity, reason) ||
		(*reason = refused_why(&who.refused_keys, digest, identity_clock())) != NULL)
		return outcome_of(*identity);
	lookup = lookup_of(digest);
	if (lookup == NULL && !may_try(address))
		return IDENTITY_LIMITED;
	if (lookup == NULL && (!db_ready() || who.nlookups == LOOKUPS_MAX))
		return IDENTITY_UNAVAILABLE;
	wait_for(lookup ? lookup : look_up(digest, address), done, context);
	return IDENTITY_PENDING;
}

IdentityOutcome
identity_of(Slice authorization, const Address *address, Identity **identity, const char **reason,
			identity_done done, void *context)
{
	Slice credential = {NULL, 0};

	*identity = NULL;
	*reason = NULL;
	switch (authorization_parse(authorization, &credential, reason))
	{
		case AUTHORIZATION_NONE:
			*identity = identity_keep(who.anonymous);
			return IDENTITY_NONE;
		case AUTHORIZATION_TOKEN:
			return who.ready ? of_token(credential, address, identity, reason)
							 : IDENTITY_UNAVAILABLE;
		case AUTHORIZATION_KEY:
			return who.ready ? of_key(credential, address, identity, reason, done, context)
							 : IDENTITY_UNAVAILABLE;
		case AUTHORIZATION_BAD:
			break;
	}
	return outcome_of(NULL);
}

/*
 * Rights
 */

bool
identity_allows(const Identity *identity, const char *what, Slice object)
{
	for (int i = 0; i < identity->nscopes; i++)
		if (scope_allows(identity->scopes[i], what, object.data, object.len))
			return true;
	return false;
}

bool
identity_allows_some(const Identity *identity, const char *what)
{
	for (int i = 0; i < identity->nscopes; i++)
		if (scope_mentions(identity->scopes[i], what))
			return true;
	return false;
}

/*
 * The configuration
 */

static Identity *
make_anonymous(char *error, size_t size)
{
	IdentityParts parts;

	memset(&parts, 0, sizeof(parts));
	parts.anonymous = true;
	parts.tenant = config.anonymous_tenant;
	parts.actor_type = "anonymous";
	if (!identity_tenant_valid(parts.tenant, strlen(parts.tenant)))
		snprintf(error, size, "anonymous_tenant is not a tenant's name");
	else if (!identity_add_scopes(&parts, config.anonymous_scopes, strlen(config.anonymous_scopes)))
		snprintf(error, size, "anonymous_scopes are more than %d", IDENTITY_SCOPES_MAX);
	else
		return identity_make(&parts);
	return NULL;
}

static char *
copy(const char *text)
{
	char *result = strdup(text);

	if (result == NULL)
		abort();
	return result;
}

/* The configuration's texts go when it is read again; a reload that fails must leave the old rules. */
static void
take_rules(void)
{
	free((char *) who.rules.issuer);
	free((char *) who.rules.audience);
	free((char *) who.rules.tenant_claim);
	free((char *) who.rules.default_tenant);
	who.rules.issuer = copy(config.jwt_issuer);
	who.rules.audience = copy(config.jwt_audience);
	who.rules.tenant_claim = copy(config.jwt_tenant_claim);
	who.rules.default_tenant = copy(config.jwt_default_tenant);
	who.rules.skew = config.jwt_skew_seconds;
}

bool
identity_load(char *error, size_t size)
{
	KeySet *keys = NULL;
	Identity *anonymous;

	if (config.jwt_default_tenant[0] != '\0' &&
		!identity_tenant_valid(config.jwt_default_tenant, strlen(config.jwt_default_tenant)))
	{
		snprintf(error, size, "jwt_default_tenant is not a tenant's name");
		return false;
	}
	if (config.jwt_keys[0] != '\0' && (keys = keys_load(config.jwt_keys, error, size)) == NULL)
		return false;
	anonymous = make_anonymous(error, size);
	if (anonymous == NULL)
	{
		keys_free(keys);
		return false;
	}
	if (who.tokens == NULL)
	{
		size_t entries = (size_t) config.token_cache_entries;

		who.tokens = token_cache_make(config.token_cache_entries, entries * IDENTITY_BYTES);
		who.api_keys = token_cache_make(API_KEYS_MAX, (size_t) API_KEYS_MAX * IDENTITY_BYTES);
		who.revocations = revocations_make(REVOCATIONS_MAX);
	}
	/* A key or an audience that is gone must not live on in what was verified by it. */
	token_cache_clear(who.tokens);
	memset(&who.refused_tokens, 0, sizeof(who.refused_tokens));
	keys_free(who.keys);
	identity_release(who.anonymous);
	who.keys = keys;
	who.anonymous = anonymous;
	who.counts.keys = keys ? keys->nkeys : 0;
	take_rules();
	if (keys != NULL)
		journal(JOURNAL_INFO, "%d keys for tokens, %d entries that are for others", keys->nkeys,
				keys->skipped);
	return true;
}

IdentityCounts
identity_counts(void)
{
	IdentityCounts counts = who.counts;

	counts.entries = token_cache_entries(who.tokens) + token_cache_entries(who.api_keys);
	counts.revocations = revocations_count(who.revocations);
	return counts;
}
