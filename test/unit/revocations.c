/*
 * test/unit/revocations.c
 *	  Revocations: whom they end, in any order, and that a full table refuses more and never less.
 *
 * unit sources: -lcrypto
 */
#include "revocations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static bool
has(const Revocations *r, const char *tenant, const char *user, const char *session, int64_t issued)
{
	IdentityParts parts;
	Identity *identity;
	bool result;

	memset(&parts, 0, sizeof(parts));
	parts.tenant = tenant;
	parts.user = user;
	parts.session = session;
	parts.issued_at = issued;
	identity = identity_make(&parts);
	result = revocations_has(r, identity);
	identity_release(identity);
	return result;
}

static bool
has_key(const Revocations *r, const char *tenant, const char *name, int64_t issued)
{
	IdentityParts parts;
	Identity *identity;
	bool result;

	memset(&parts, 0, sizeof(parts));
	parts.tenant = tenant;
	parts.user = name;
	parts.is_key = true;
	parts.issued_at = issued;
	identity = identity_make(&parts);
	result = revocations_has(r, identity);
	identity_release(identity);
	return result;
}

static void
test_kinds(void)
{
	Revocations *r = revocations_make(1000);
	RevocationKind kind;

	ok(revocations_kind("session", &kind) && kind == REVOKE_SESSION &&
		   revocations_kind("tenant", &kind) && kind == REVOKE_TENANT &&
		   !revocations_kind("role", &kind) && !revocations_kind("", &kind),
	   "the kinds' names");
	ok(!has(r, "a", "u", "s", 0), "nobody is revoked yet");
	revocations_add(r, "a", REVOKE_SESSION, "s", 100);
	ok(has(r, "a", "u", "s", 99) && !has(r, "a", "u", "s", 100),
	   "a session, by when it was issued");
	ok(has(r, "a", "u", "s", 0), "what was issued nobody knows when is over");
	ok(!has(r, "a", "u", "s2", 99) && !has(r, "b", "u", "s", 99) && !has(r, "a", "s", "", 99) &&
		   !has(r, "a", "u", "", 0),
	   "no other session, no other tenant's, no user of that name");
	revocations_add(r, "a", REVOKE_USER, "u", 200);
	ok(has(r, "a", "u", "s9", 199) && has(r, "a", "u", "", 199) && !has(r, "a", "u", "s9", 200) &&
		   !has(r, "a", "v", "s9", 199) && !has(r, "b", "u", "s9", 199),
	   "a user, in all his sessions");
	ok(!has_key(r, "a", "u", 0), "but not an API key of that name");
	revocations_add(r, "a", REVOKE_KEY, "k", 300);
	ok(has_key(r, "a", "k", 299) && !has_key(r, "a", "k", 300) && !has_key(r, "b", "k", 299) &&
		   !has(r, "a", "k", "k", 299),
	   "a key");
	revocations_add(r, "b", REVOKE_TENANT, "whatever", 400);
	ok(has(r, "b", "x", "y", 399) && has_key(r, "b", "x", 399) && !has(r, "b", "x", "y", 400) &&
		   !has(r, "c", "x", "y", 399),
	   "a tenant, whatever the id");
	revocations_free(r);
}

static void
test_order(void)
{
	static const int64_t times[] = {100, 300, 200};
	bool good = true;

	for (int first = 0; first < 3; first++)
		for (int step = 1; step < 3; step++)
		{
			Revocations *r = revocations_make(10);

			for (int i = 0; i < 3; i++)
				revocations_add(r, "a", REVOKE_USER, "u", times[(first + i * step) % 3]);
			good = good && revocations_count(r) == 1 && has(r, "a", "u", "", 299) &&
				   !has(r, "a", "u", "", 300);
			revocations_free(r);
		}
	ok(good, "the latest time counts, in whatever order they come");
}

static void
test_anonymous(void)
{
	Revocations *r = revocations_make(10);
	IdentityParts parts;
	Identity *identity;

	revocations_add(r, "default", REVOKE_TENANT, "", 1000);
	memset(&parts, 0, sizeof(parts));
	parts.tenant = "default";
	parts.anonymous = true;
	identity = identity_make(&parts);
	ok(!revocations_has(r, identity), "nobody is not revoked");
	identity_release(identity);
	ok(revocations_generation(r) == 1, "the generation has risen");
	revocations_free(r);
}

/* 50,000 sessions in a table of 1,000: each that was revoked stays so, and what is newer than all is free. */
static void
test_full(void)
{
	Revocations *r = revocations_make(1000);
	bool bounded = true, refused = true;
	char id[20];

	revocations_add(r, "quiet", REVOKE_USER, "u", 500000);
	revocations_add(r, "busy", REVOKE_KEY, "k", 10);
	for (int i = 0; i < 50000; i++)
	{
		snprintf(id, sizeof(id), "s-%d", i);
		revocations_add(r, "busy", REVOKE_SESSION, id, 1000 + i);
		bounded = bounded && revocations_count(r) <= 1000;
	}
	for (int i = 0; i < 50000; i += 7)
	{
		snprintf(id, sizeof(id), "s-%d", i);
		refused = refused && has(r, "busy", "u", id, 999 + i);
	}
	ok(bounded, "50,000 revocations hold at most 1,000 places");
	ok(refused, "each of them still counts");
	ok(!has(r, "busy", "u", "new", 51000) && !has(r, "busy", "u", "s-1", 60000),
	   "a session that is newer than all is good");
	ok(!has(r, "busy", "u", "", 1), "what has no session is not in the group");
	ok(has(r, "quiet", "u", "", 499999) && !has(r, "quiet", "v", "s", 1) &&
		   !has(r, "quiet", "u", "s", 500000) && has_key(r, "busy", "k", 9) &&
		   !has_key(r, "busy", "k", 10) && !has_key(r, "busy", "l", 1),
	   "the others' revocations are as exact as ever");
	revocations_free(r);
}

/* As many tenants as there are places: no group is large. */
static void
test_full_of_tenants(void)
{
	Revocations *r = revocations_make(500);
	bool bounded = true, refused = true;
	char name[20];

	for (int i = 0; i < 5000; i++)
	{
		snprintf(name, sizeof(name), "t%d", i);
		revocations_add(r, name, REVOKE_USER, "u", 1000 + i);
		bounded = bounded && revocations_count(r) <= 500;
	}
	for (int i = 0; i < 5000; i++)
	{
		snprintf(name, sizeof(name), "t%d", i);
		refused = refused && has(r, name, "u", "", 999 + i);
	}
	ok(bounded && refused, "5,000 tenants in a table of 500");
	ok(!has(r, "t1", "u", "", 6000) && !has(r, "new", "v", "", 6000) && !has_key(r, "t1", "u", 1),
	   "newer ones are good, and keys are not touched");
	revocations_free(r);
}

static void
test_same_time(void)
{
	Revocations *r = revocations_make(100);
	bool bounded = true;
	char id[20];

	for (int i = 0; i < 1000; i++)
	{
		snprintf(id, sizeof(id), "s-%d", i);
		revocations_add(r, "a", REVOKE_SESSION, id, 1000);
		bounded = bounded && revocations_count(r) <= 100;
	}
	ok(bounded && has(r, "a", "u", "s-5", 999) && !has(r, "a", "u", "s-5", 1000),
	   "1,000 sessions revoked in the same second");
	revocations_free(r);
}

static void
test_long(void)
{
	Revocations *r = revocations_make(10);
	char id[400];

	memset(id, 'x', sizeof(id));
	id[REVOCATION_ID_MAX] = '\0';
	revocations_add(r, "a", REVOKE_USER, id, 100);
	ok(has(r, "a", id, "", 99), "the longest id");
	id[REVOCATION_ID_MAX] = 'x';
	id[REVOCATION_ID_MAX + 1] = '\0';
	revocations_add(r, "a", REVOKE_USER, id, 100);
	ok(revocations_count(r) == 1, "an id that nobody can have takes no place");
	revocations_free(r);
}

int
main(void)
{
	test_kinds();
	test_order();
	test_anonymous();
	test_full();
	test_full_of_tenants();
	test_same_time();
	test_long();
	return tap_end();
}
