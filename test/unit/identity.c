/*
 * test/unit/identity.c
 *	  identity.c without a loop and without a database: what is cached, asked for, revoked and reloaded.
 *
 * The database is a list of calls that the test answers itself; the clock is a number.
 *
 * unit sources: gateway/identity.c -lcjose -ljansson -lpq -lcrypto
 */
#include "config.h"
#include "db.h"
#include "identity.h"
#include "journal.h"
#include "jwt.h"
#include "limit.h"
#include "sha256.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

#define NOW 1700000000.0
#define KEY "usk_0123456789abcdefghijklmnop"

Config config;

static double now = NOW;
static char key_file[] = "/tmp/usherd-identity-XXXXXX";
static KeySet *keys;

static double
clock_of_test(void)
{
	return now;
}

/*
 * The journal and the database, as far as identity.c knows them
 */

static char journalled[100000];

void
journal(JournalLevel level, const char *format, ...)
{
	size_t len = strlen(journalled);
	va_list args;

	(void) level;
	va_start(args, format);
	vsnprintf(journalled + len, sizeof(journalled) - len, format, args);
	va_end(args);
}

static bool may_try = true;
static int tries,
	wrong_ones; /* credentials of the address that were looked into, and those that were wrong */
static const Address somewhere = {.bytes = {[15] = 1}};

double
limit_clock(void)
{
	return now;
}

bool
limit_may_try_credential(const Address *address, double at, LimitAnswer *answer)
{
	(void) at;
	tries += may_try && memcmp(address, &somewhere, sizeof(somewhere)) == 0;
	*answer = (LimitAnswer){.allowed = may_try};
	return may_try;
}

void
limit_wrong_credential(const Address *address, double at)
{
	(void) at;
	wrong_ones += memcmp(address, &somewhere, sizeof(somewhere)) == 0;
}

static DbCall calls[200];
static int ncalls;
static bool database = true;

void
db_submit(DbLane lane, const DbCall *call)
{
	(void) lane;
	calls[ncalls++] = *call;
}

bool
db_ready(void)
{
	return database;
}

static PGresult *
row(const char *tenant, const char *name, const char *scopes, const char *issued,
	const char *expires)
{
	static char names[][12] = {"tenant", "name", "scopes", "issued_at", "expires_at"};
	const char *values[] = {tenant, name, scopes, issued, expires};
	PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[5];

	memset(columns, 0, sizeof(columns));
	for (int i = 0; i < 5; i++)
		columns[i].name = names[i];
	PQsetResultAttrs(result, 5, columns);
	for (int i = 0; tenant != NULL && i < 5; i++)
	{
		char *copy = values[i] ? strdup(values[i]) : NULL;

		PQsetvalue(result, 0, i, copy, copy ? (int) strlen(copy) : -1);
		free(copy);
	}
	return result;
}

/* Answers the oldest call. */
static void
answer(DbOutcome outcome, PGresult *result)
{
	DbCall call = calls[0];

	memmove(calls, calls + 1, sizeof(calls[0]) * (size_t) --ncalls);
	call.done(call.context, outcome, result);
	PQclear(result);
}

/*
 * Requests
 */

static const Address *asked_from; /* NULL: nobody counts */

typedef struct Asked
{
	IdentityOutcome outcome;
	Identity *identity;
	char reason[200];
	int calls;
} Asked;

static void
done(void *context, IdentityOutcome outcome, Identity *identity, const char *reason)
{
	Asked *asked = context;

	asked->calls++;
	asked->outcome = outcome;
	asked->identity = identity;
	snprintf(asked->reason, sizeof(asked->reason), "%s", reason ? reason : "");
}

static void
ask(Asked *asked, const char *header)
{
	Slice slice = {header, header ? strlen(header) : 0};
	const char *reason = NULL;

	memset(asked, 0, sizeof(*asked));
	asked->outcome = identity_of(slice, asked_from, &asked->identity, &reason, done, asked);
	snprintf(asked->reason, sizeof(asked->reason), "%s", reason ? reason : "");
}

static bool
answered(Asked *asked, IdentityOutcome outcome, const char *reason)
{
	bool good = asked->outcome == outcome && strcmp(asked->reason, reason) == 0 &&
				(asked->identity != NULL) == (outcome == IDENTITY_OK || outcome == IDENTITY_NONE);

	if (!good)
		printf("# outcome %d, reason \"%s\"\n", (int) asked->outcome, asked->reason);
	identity_release(asked->identity);
	asked->identity = NULL;
	return good;
}

static bool
gives(const char *header, IdentityOutcome outcome, const char *reason)
{
	Asked asked;

	ask(&asked, header);
	return answered(&asked, outcome, reason);
}

static char *
token(const char *user, const char *session, double issued, double expires)
{
	json_t *claims = json_pack("{s:s, s:s, s:s, s:f, s:f, s:s}", "sub", user, "tenant", "acme",
							   "sid", session, "iat", issued, "exp", expires, "scope",
							   "log:read log:append:order");
	char *text = jwt_sign(&keys->keys[0], claims), *header = malloc(strlen(text) + 8);

	sprintf(header, "Bearer %s", text);
	free(text);
	json_decref(claims);
	return header;
}

static void
write_keys(KeyAlgorithm algorithm)
{
	char error[200];
	json_t *key = keys_generate(algorithm, "main");

	json_dump_file(key, key_file, 0);
	chmod(key_file, 0600);
	json_decref(key);
	keys_free(keys);
	keys = keys_load(key_file, error, sizeof(error));
}

static void
configure(void)
{
	config.jwt_keys = key_file;
	config.jwt_issuer = config.jwt_audience = config.jwt_default_tenant = "";
	config.jwt_tenant_claim = "tenant";
	config.jwt_skew_seconds = 10;
	config.api_key_cache_seconds = 60;
	config.token_cache_entries = 100;
	config.anonymous_tenant = "default";
	config.anonymous_scopes = "log:read:public";
}

static void
test_anonymous(void)
{
	Asked asked;
	Slice public = {"public", 6}, order = {"order", 5}, everything = {NULL, 0};

	ask(&asked, NULL);
	ok(asked.outcome == IDENTITY_NONE && asked.identity->anonymous &&
		   strcmp(asked.identity->tenant, "default") == 0 &&
		   strcmp(asked.identity->actor_type, "anonymous") == 0 && asked.identity->user[0] == '\0',
	   "nobody is the anonymous one of the configuration");
	ok(identity_allows(asked.identity, "log:read", public) &&
		   !identity_allows(asked.identity, "log:read", order) &&
		   !identity_allows(asked.identity, "log:read", everything) &&
		   identity_allows_some(asked.identity, "log:read") &&
		   !identity_allows_some(asked.identity, "log:append"),
	   "with the scopes of the configuration");
	identity_release(asked.identity);
	ok(gives("", IDENTITY_INVALID, "the scheme of Authorization is neither Bearer nor ApiKey"),
	   "an empty header is not nobody");
}

static void
test_tokens(void)
{
	char *good = token("u", "s", NOW, NOW + 100), *old = token("u", "s", NOW - 100, NOW - 50);
	Asked first, second;
	IdentityCounts before;

	ask(&first, good);
	before = identity_counts();
	ask(&second, good);
	ok(first.outcome == IDENTITY_OK && first.identity == second.identity &&
		   identity_counts().verified == before.verified &&
		   identity_counts().cached == before.cached + 1,
	   "a token is verified once");
	identity_release(first.identity);
	identity_release(second.identity);
	ok(gives(old, IDENTITY_INVALID, "the token has expired"), "an old token");
	ok(identity_counts().entries == before.entries, "what was refused is not remembered");
	now = NOW + 109.9;
	ok(gives(good, IDENTITY_OK, ""), "a cached token is good until its end and the skew");
	now = NOW + 110;
	ok(gives(good, IDENTITY_INVALID, "the token has expired") &&
		   gives(good, IDENTITY_INVALID, "the token has expired"),
	   "and not longer, cached or not");
	now = NOW;
	good[strlen(good) / 2] ^= 1;
	ok(!gives(good, IDENTITY_OK, ""), "a changed token is not found in the cache");
	free(good), free(old);
}

static void
test_keys(void)
{
	Asked one, two, three;

	ask(&one, "Bearer " KEY);
	ask(&two, "ApiKey " KEY);
	ok(one.outcome == IDENTITY_PENDING && two.outcome == IDENTITY_PENDING && ncalls == 1,
	   "two requests with the same key are one question");
	ok(calls[0].lengths[0] == SHA256_BYTES && calls[0].formats[0] == 1 &&
		   calls[0].statement->nparams == 1,
	   "the question is the key's SHA-256");
	answer(DB_DONE, row("acme", "importer", "log:append log:read:order", "1699990000", NULL));
	ok(one.calls == 1 && two.calls == 1 && one.outcome == IDENTITY_OK &&
		   one.identity == two.identity && one.identity->is_key &&
		   strcmp(one.identity->tenant, "acme") == 0 &&
		   strcmp(one.identity->user, "importer") == 0 && one.identity->nscopes == 2 &&
		   one.identity->issued_at == 1699990000 &&
		   strcmp(one.identity->actor_type, "service") == 0,
	   "both are answered");
	ask(&three, "ApiKey " KEY);
	ok(three.outcome == IDENTITY_OK && three.identity == one.identity && ncalls == 0,
	   "the key is remembered");
	identity_release(one.identity), identity_release(two.identity),
		identity_release(three.identity);
	now = NOW + 60;
	ask(&one, "ApiKey " KEY);
	ok(one.outcome == IDENTITY_PENDING && ncalls == 1, "for a minute");
	answer(DB_DONE, row(NULL, NULL, NULL, NULL, NULL));
	ok(answered(&one, IDENTITY_INVALID, "the API key is not known"), "a key that was dropped");
	ok(gives("ApiKey " KEY, IDENTITY_INVALID, "the API key is not known") && ncalls == 0,
	   "is not asked for again");
	now = NOW + 65;
	ask(&one, "ApiKey " KEY);
	ok(ncalls == 1, "for five seconds");
	answer(DB_DONE, row("acme", "importer", "", "1699990000", "1700000100"));
	ok(answered(&one, IDENTITY_OK, ""), "a key that ends");
	now = NOW + 99;
	ok(gives("ApiKey " KEY, IDENTITY_OK, ""), "is good before its end");
	now = NOW + 100;
	ask(&one, "ApiKey " KEY);
	ok(ncalls == 1, "and not remembered beyond it");
	answer(DB_DONE, row("acme", "importer", "", "1699990000", "1700000100"));
	ok(answered(&one, IDENTITY_INVALID, "the API key has expired"), "its end is looked at, too");
	now = NOW + 200;
}

/* Begins long behind the tests before it, so that what they had refused is forgotten. */
static void
test_wrong_ones(void)
{
	char *good = token("u", "s", NOW + 190, NOW + 400),
		 *known = token("v", "s", NOW + 190, NOW + 400);
	char *wrong = token("u", "s", NOW - 100, NOW - 50);
	Asked asked;

	asked_from = &somewhere;
	tries = wrong_ones = 0;
	ok(gives(known, IDENTITY_OK, "") && tries == 1 && wrong_ones == 0,
	   "a good token counts for nobody");
	ok(gives(wrong, IDENTITY_INVALID, "the token has expired") && tries == 2 && wrong_ones == 1,
	   "a wrong one counts for its address");
	ok(gives(wrong, IDENTITY_INVALID, "the token has expired") && tries == 2 && wrong_ones == 1,
	   "and is remembered");
	now += 5;
	ok(gives(wrong, IDENTITY_INVALID, "the token has expired") && tries == 3 && wrong_ones == 2,
	   "for five seconds");
	ask(&asked, "ApiKey " KEY "3");
	ok(asked.outcome == IDENTITY_PENDING && tries == 4, "so is a key");
	answer(DB_DONE, row(NULL, NULL, NULL, NULL, NULL));
	ok(answered(&asked, IDENTITY_INVALID, "the API key is not known") && wrong_ones == 3,
	   "when the database does not know it");
	may_try = false;
	ok(gives(good, IDENTITY_LIMITED, "") && gives("ApiKey " KEY "4", IDENTITY_LIMITED, "") &&
		   ncalls == 0,
	   "an address that brought too many has no other looked into");
	ok(gives(known, IDENTITY_OK, "") && gives(wrong, IDENTITY_INVALID, "the token has expired"),
	   "but those that are known");
	may_try = true;
	ok(gives(good, IDENTITY_OK, ""), "until it may again");
	asked_from = NULL;
	now = NOW + 220;
	free(good), free(known), free(wrong);
}

static void
test_no_database(void)
{
	char header[60];
	Asked asked[66];

	ask(&asked[0], "ApiKey " KEY);
	answer(DB_LOST, NULL);
	ok(answered(&asked[0], IDENTITY_UNAVAILABLE, ""), "no answer is no refusal");
	ask(&asked[0], "ApiKey " KEY);
	answer(DB_REFUSED, PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR));
	ok(answered(&asked[0], IDENTITY_UNAVAILABLE, ""), "nor is an error");
	ask(&asked[0], "ApiKey " KEY);
	answer(DB_DONE, row("Not A Tenant", "importer", "", "1", NULL));
	ok(answered(&asked[0], IDENTITY_INVALID, "the API key is not known"),
	   "a row that makes no sense");
	database = false;
	ok(gives("ApiKey " KEY "2", IDENTITY_UNAVAILABLE, "") && ncalls == 0, "no database");
	database = true;
	for (int i = 0; i < 65; i++)
	{
		snprintf(header, sizeof(header), "ApiKey %s%d", KEY, i + 100);
		ask(&asked[i], header);
	}
	ok(ncalls == 64 && asked[64].outcome == IDENTITY_UNAVAILABLE,
	   "at most 64 keys are asked for at once");
	while (ncalls > 0)
		answer(DB_DONE, row(NULL, NULL, NULL, NULL, NULL));
	ok(asked[63].calls == 1 && asked[63].outcome == IDENTITY_INVALID, "all get their answer");
	now = NOW + 300;
}

static int ended;

static void
on_revoked(const char *tenant, const char *kind, const char *id, int64_t not_before)
{
	ended += strcmp(tenant, "acme") == 0 && strcmp(kind, "session") == 0 &&
			 strcmp(id, "s-1") == 0 && not_before == (int64_t) NOW + 300;
}

static void
test_revoked(void)
{
	char *first = token("u", "s-1", NOW + 299, NOW + 1000),
		 *second = token("u", "s-2", NOW + 299, NOW + 1000);
	char *later;
	Asked held, key;

	identity_on_revoked(on_revoked);
	ask(&held, first);
	ok(gives(second, IDENTITY_OK, "") && !identity_is_revoked(held.identity),
	   "two sessions of one user");
	identity_revoked("acme", "session", "s-1", (int64_t) NOW + 300);
	ok(identity_is_revoked(held.identity) && ended == 1, "who holds a revoked identity is told");
	ok(gives(first, IDENTITY_INVALID, "the credential was revoked") &&
		   gives(first, IDENTITY_INVALID, "the credential was revoked"),
	   "a revoked session is refused, cached or not");
	ok(gives(second, IDENTITY_OK, ""), "the other is not");
	identity_revoked("acme", "session", "s-1", 5);
	ok(identity_is_revoked(held.identity), "an older revocation changes nothing");
	identity_revoked("other", "user", "u", (int64_t) NOW + 300);
	ok(gives(second, IDENTITY_OK, ""), "another tenant's user of that name is another");
	identity_revoked("acme", "user", "u", (int64_t) NOW + 300);
	ok(gives(second, IDENTITY_INVALID, "the credential was revoked"),
	   "a revoked user is, in each session");
	later = token("u", "s-1", NOW + 300, NOW + 1000);
	ok(gives(later, IDENTITY_OK, ""), "a token issued since is good");
	identity_revoked("acme", "nonsense", "u", (int64_t) NOW + 5000);
	ok(gives(later, IDENTITY_OK, "") && strstr(journalled, "nonsense") != NULL,
	   "a kind that nobody knows is said and left alone");
	ask(&key, "ApiKey " KEY);
	answer(DB_DONE, row("acme", "importer", "", "1700000200", NULL));
	ok(gives("ApiKey " KEY, IDENTITY_OK, ""), "a key");
	identity_revoked("acme", "key", "importer", (int64_t) NOW + 300);
	ok(identity_is_revoked(key.identity), "that is revoked");
	identity_release(key.identity);
	ask(&key, "ApiKey " KEY);
	ok(ncalls == 1, "is asked for again");
	answer(DB_DONE, row("acme", "importer", "", "1700000200", NULL));
	ok(answered(&key, IDENTITY_INVALID, "the credential was revoked"),
	   "is so whatever the database says");
	identity_revoked("acme", "tenant", "acme", (int64_t) NOW + 301);
	ok(gives(later, IDENTITY_INVALID, "the credential was revoked"), "a revoked tenant");
	identity_release(held.identity);
	free(first), free(second), free(later);
}

static void
test_ready(void)
{
	char *good = token("u", "s", NOW + 400, NOW + 1000);

	identity_revocations_ready(false);
	ok(gives(good, IDENTITY_UNAVAILABLE, "") && gives("ApiKey " KEY, IDENTITY_UNAVAILABLE, "") &&
		   gives(NULL, IDENTITY_NONE, ""),
	   "no credential is believed before the revocations were read");
	identity_revocations_ready(true);
	now = NOW + 400;
	ok(gives(good, IDENTITY_OK, ""), "and then it is");
	free(good);
}

static void
test_reload(void)
{
	char *before = token("u", "s", NOW + 400, NOW + 1000), *after;
	char error[512];
	FILE *file;

	ok(gives(before, IDENTITY_OK, ""), "a token of the first key");
	file = fopen(key_file, "w");
	fputs("{\"keys\": [", file);
	fclose(file);
	ok(!identity_load(error, sizeof(error)) && strstr(error, "not JSON") != NULL &&
		   gives(before, IDENTITY_OK, ""),
	   "a bad file leaves the old keys");
	config.anonymous_tenant = "Not A Tenant";
	write_keys(KEY_HS256);
	ok(!identity_load(error, sizeof(error)) && gives(before, IDENTITY_OK, "") &&
		   gives(NULL, IDENTITY_NONE, ""),
	   "so does a bad setting");
	config.anonymous_tenant = "default";
	ok(identity_load(error, sizeof(error)) &&
		   gives(before, IDENTITY_INVALID, "the token's algorithm is not that of its key"),
	   "with new keys, what the old ones proved is forgotten");
	after = token("u", "s", NOW + 400, NOW + 1000);
	ok(gives(after, IDENTITY_OK, ""), "and theirs are good");
	config.jwt_audience = "api";
	ok(identity_load(error, sizeof(error)) &&
		   gives(after, IDENTITY_INVALID, "the token is for another audience"),
	   "a new audience counts at once");
	config.jwt_keys = "";
	ok(identity_load(error, sizeof(error)) &&
		   gives(after, IDENTITY_INVALID, "no keys for tokens are configured"),
	   "without keys no token is taken");
	free(before), free(after);
}

int
main(void)
{
	char error[512];
	int fd = mkstemp(key_file);

	if (fd < 0)
		return 1;
	close(fd);
	configure();
	identity_clock = clock_of_test;
	write_keys(KEY_ES256);
	if (!identity_load(error, sizeof(error)))
	{
		printf("Bail out! %s\n", error);
		return 1;
	}
	identity_revocations_ready(true);
	test_anonymous();
	test_tokens();
	test_keys();
	test_wrong_ones();
	test_no_database();
	test_revoked();
	test_ready();
	test_reload();
	ok(strstr(journalled, "eyJ") == NULL && strstr(journalled, "usk_") == NULL,
	   "no credential is in the journal");
	keys_free(keys);
	unlink(key_file);
	return tap_end();
}
