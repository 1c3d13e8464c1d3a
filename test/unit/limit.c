/*
 * test/unit/limit.c
 *	  Rate limits by class, caller and tenant; lists of addresses; connections per address.
 *
 * unit sources: gateway/limit.c
 */
#include "config.h"
#include "limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tap.h"

Config config; /* limit.c reads it; here it is what the tests say */

static char fault[300];

static Address
address(const char *text)
{
	Address result;

	limit_parse_address(text, &result);
	return result;
}

static void
configure(const char *rates, const char *allow, const char *deny, const char *proxies)
{
	config.rate_limits = (char *) (uintptr_t) rates;
	config.allow = (char *) (uintptr_t) allow;
	config.deny = (char *) (uintptr_t) deny;
	config.trusted_proxies = (char *) (uintptr_t) proxies;
}

#define SHIPPED "general=100/20 key=6000/1000 login=5/3 register=3/2 reserve=20/10"

/* How many of `tries` are allowed. */
static int
take(const char *class, const char *tenant, const char *user, bool is_key, const char *from,
	 double now, int tries)
{
	Address a = address(from);
	int allowed = 0;

	for (int i = 0; i < tries; i++)
		allowed += limit_take(class, tenant, user, is_key, &a, now).allowed;
	return allowed;
}

static void
check_classes(void)
{
	Address a = address("192.0.2.1");
	LimitAnswer answer;

	ok(take("login", "t", "ann", false, "192.0.2.1", 1000, 10) == 3, "login: a burst of 3");
	ok(take("login", "t", "ann", false, "192.0.2.1", 1011.9, 10) == 0,
	   "the next after 12 seconds: not before");
	ok(take("login", "t", "ann", false, "192.0.2.1", 1012.1, 10) == 1,
	   "the next after 12 seconds: one");
	ok(take("login", "t", "bob", false, "192.0.2.1", 1000, 10) == 3, "another user has his own");
	ok(take("login", "u", "ann", false, "192.0.2.1", 1000, 10) == 3,
	   "the same name in another tenant, too");
	ok(take("register", "t", "ann", false, "192.0.2.1", 1000, 10) == 2, "register: a burst of 2");
	ok(take("reserve", "t", "ann", false, "192.0.2.1", 1000, 30) == 10, "reserve: a burst of 10");
	ok(take("general", "t", "ann", false, "192.0.2.1", 1000, 30) == 20, "general: a burst of 20");
	ok(take("unheard-of", "t", "ann", false, "192.0.2.1", 1000, 30) == 0,
	   "an unknown class is general");
	ok(take("general", "t", "robot", true, "192.0.2.1", 1000, 2000) == 1000, "keys have their own");
	ok(take("login", "t", "robot", true, "192.0.2.1", 1000, 10) == 3,
	   "but not where a class is special");
	answer = limit_take("login", "v", "x", false, &a, 50);
	ok(answer.allowed && answer.limit == 5 && answer.remaining == 2 && answer.reset_seconds == 12 &&
		   answer.retry_after_seconds == 0,
	   "what is told of the first");
	limit_take("login", "v", "x", false, &a, 50);
	limit_take("login", "v", "x", false, &a, 50);
	answer = limit_take("login", "v", "x", false, &a, 51);
	ok(!answer.allowed && answer.limit == 5 && answer.remaining == 0 &&
		   answer.reset_seconds == 35 && answer.retry_after_seconds == 11,
	   "what is told of a refused one");
}

static void
check_anonymous(void)
{
	ok(take("login", "t", "", false, "192.0.2.1", 1000, 10) == 3, "nobody: by address");
	ok(take("login", "other", "", false, "192.0.2.1", 1000, 10) == 0, "whatever the tenant");
	ok(take("login", "t", "", false, "::ffff:192.0.2.1", 1000, 10) == 0,
	   "whatever the way it is written");
	ok(take("login", "t", "", false, "192.0.2.2", 1000, 10) == 3, "another address has its own");
	ok(take("login", "t", "", false, "2001:db8::1", 1000, 10) == 3, "IPv6: a /64");
	ok(take("login", "t", "", false, "2001:db8::ffff:1", 1000, 10) == 0,
	   "another address of it: the same");
	ok(take("login", "t", "", false, "2001:db8:0:1::1", 1000, 10) == 3, "another /64 has its own");
}

static void
check_tenants(void)
{
	limit_tenant("small", "tenant", 60, 5);
	ok(take("general", "small", "ann", false, "192.0.2.1", 1000, 4) == 4 &&
		   take("general", "small", "bob", false, "192.0.2.1", 1000, 4) == 1,
	   "a tenant's own limit counts all its users");
	ok(take("general", "small", "bob", false, "192.0.2.1", 1001.01, 4) == 1, "and fills again");
	ok(take("general", "small", "bob", false, "192.0.2.1", 1000, 20) == 0 &&
		   (limit_tenant("small", "tenant", 0, 0),
			take("general", "small", "bob", false, "192.0.2.1", 1001.01, 30) == 19),
	   "what the tenant's refused took nothing of the user's");
	limit_tenant("large", "login", 6000, 50);
	ok(take("login", "large", "ann", false, "192.0.2.1", 1000, 100) == 50,
	   "a tenant's limit of a class");
	ok(take("login", "large", "bob", false, "192.0.2.1", 1000, 100) == 50, "is for each user");
	limit_tenant("large", "login", 0, 0);
	ok(take("login", "large", "cid", false, "192.0.2.1", 1000, 100) == 3,
	   "and ends when it is taken away");
	for (int i = 0; i < 1000; i++)
	{
		char name[20];

		snprintf(name, sizeof(name), "tenant%d", i);
		limit_tenant(name, "login", 60, 1 + i % 7);
	}
	ok(take("login", "tenant998", "x", false, "192.0.2.1", 1000, 100) == 1 + 998 % 7 &&
		   take("login", "tenant3", "x", false, "192.0.2.1", 1000, 100) == 4,
	   "a thousand tenants have their own");
}

static void
check_load(void)
{
	static const char *const wrong[] = {"login",
										"login=5",
										"login=5/",
										"login=/3",
										"login=0/3",
										"login=5/0",
										"login=5/3 login=6/3",
										"=5/3",
										"login=5/3/2",
										"login=60000001/1",
										"login=5/1000001",
										"login=-5/3",
										"a-name-of-a-class-that-is-much-too-long=5/3"};
	Address in = address("10.1.2.3"), out = address("10.9.9.9"), v6 = address("2001:db8::1");

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		configure(wrong[i], "", "", "");
		fault[0] = '\0';
		ok(!limit_load(fault, sizeof(fault)) && strstr(fault, "rate_limits") != NULL, wrong[i]);
	}
	configure(SHIPPED, "10.0.0.0/33", "", "");
	ok(!limit_load(fault, sizeof(fault)) && strstr(fault, "\"allow\": \"10.0.0.0/33\"") != NULL,
	   "a wrong allow");
	configure(SHIPPED, "", "x", "");
	ok(!limit_load(fault, sizeof(fault)) && strstr(fault, "deny") != NULL, "a wrong deny");
	ok(take("login", "t", "load", false, "192.0.2.1", 1000, 10) == 3,
	   "after mistakes all is as before");
	ok(limit_address_allowed(&in) && limit_address_allowed(&v6), "without lists all may come");
	configure(SHIPPED, "10.1.0.0/16 2001:db8::/32", "10.1.2.3", "");
	ok(limit_load(fault, sizeof(fault)) && !limit_address_allowed(&in) &&
		   !limit_address_allowed(&out) && limit_address_allowed(&v6),
	   "deny wins over allow, and others may not come");
	configure("general=60/2", "", "10.0.0.0/8", "");
	ok(limit_load(fault, sizeof(fault)) && !limit_address_allowed(&out) &&
		   limit_address_allowed(&v6),
	   "deny alone");
	ok(take("login", "t", "new", false, "192.0.2.1", 1000, 10) == 2, "a reload brings other rates");
	configure("", "", "", "");
	ok(limit_load(fault, sizeof(fault)) &&
		   take("login", "t", "x", false, "192.0.2.1", 1000, 500) == 500,
	   "without rates nothing is limited");
}

static void
check_connections(void)
{
	Address a = address("192.0.2.1"), same = address("2001:db8::1"), as = address("2001:db8::2"),
			proxy = address("10.0.0.1"), many;
	int connected = 0, wrong = 0;
	unsigned seed = 3;
	int held[3000] = {0};

	configure(SHIPPED, "", "", "10.0.0.1");
	limit_load(fault, sizeof(fault));
	for (int i = 0; i < 10; i++)
		connected += limit_connect(&a);
	ok(connected == 4, "as many connections of an address as are allowed");
	limit_disconnect(&a);
	ok(limit_connect(&a) && !limit_connect(&a), "one ends, one may come");
	connected = 0;
	for (int i = 0; i < 5; i++)
		connected += limit_connect(&same) + limit_connect(&as);
	ok(connected == 4, "a /64 is one address");
	connected = 0;
	for (int i = 0; i < 100; i++)
		connected += limit_connect(&proxy);
	limit_disconnect(&proxy);
	ok(connected == 100, "a trusted proxy is not counted");
	/* Beside a model, with entries coming and going. */
	for (int i = 0; i < 300000; i++)
	{
		int who = rand_r(&seed) % 3000;

		many = address("10.7.0.0");
		many.bytes[14] = (unsigned char) (who >> 8);
		many.bytes[15] = (unsigned char) who;
		if (rand_r(&seed) % 2)
		{
			bool may = limit_connect(&many);

			wrong += may != (held[who] < 4);
			held[who] += may;
		}
		else if (held[who] > 0)
		{
			limit_disconnect(&many);
			held[who]--;
		}
	}
	ok(wrong == 0, "300,000 comings and goings agree with a model");
}

/* Not a test: how fast it is, for who runs this by hand with --speed. */
static void
measure(void)
{
	struct timespec start, end;
	double seconds;
	char users[1024][20];
	Address a = address("192.0.2.1");
	int allowed = 0;

	for (int i = 0; i < 1024; i++)
		snprintf(users[i], sizeof(users[i]), "user-%d", i);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < 10000000; i++)
		allowed +=
			limit_take("general", "default", users[i & 1023], false, &a, 5000 + i * 1e-7).allowed;
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double) (end.tv_sec - start.tv_sec) + (double) (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("# users: %.1f million a second, %d allowed\n", 10 / seconds, allowed);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint32_t i = 0; i < 10000000; i++)
	{
		uint32_t mixed = i * 2654435761u;

		memcpy(a.bytes + 12, &mixed, 4);
		allowed += limit_take("general", "default", "", false, &a, 6000 + i * 1e-7).allowed;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double) (end.tv_sec - start.tv_sec) + (double) (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("# 10 million addresses: %.1f million a second, crowded %lld times\n", 10 / seconds,
		   (long long) limit_crowded());
}

int
main(int argc, char **argv)
{
	config.rate_buckets = 1048576;
	config.connections_max = 4000;
	config.connections_per_address_max = 4;
	configure(SHIPPED, "", "", "");
	ok(limit_load(fault, sizeof(fault)), "the shipped rates are right");
	if (argc > 1 && strcmp(argv[1], "--speed") == 0)
	{
		measure();
		return 0;
	}
	check_classes();
	check_anonymous();
	check_tenants();
	check_load();
	check_connections();
	return tap_end();
}
