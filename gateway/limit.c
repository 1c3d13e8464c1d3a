/*
 * gateway/limit.c
 *	  Rate limits (token buckets), which addresses may come at all, and how many connections each has.
 *
 * The buckets are lib/buckets.c; here is whose they are.  All keys are hashed
 * with a random key of this process.  Only the loop's thread is here.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "config.h"
#include "lib/buckets.h"
#include "lib/siphash.h"
#include "limit.h"

#define CLASSES_MAX       32
#define CLASS_NAME_SIZE   32
#define PER_MINUTE_MAX    60000000
#define BURST_MAX         1000000
#define CREDENTIALS_CLASS "credentials" /* wrong ones, of an address */
#define TENANT_CLASS      "tenant" /* the rate of all requests of a tenant together */
#define KEY_CLASS         "key" /* "general", of API keys */
#define GENERAL_CLASS     "general"

/* What a hash is of: the same name must not mean two things. */
enum
{
	OF_USER = 1,
	OF_USERS, /* of a tenant: for whom there is no room */
	OF_ADDRESS,
	OF_NETWORK,
	OF_TENANT,
	OF_OVERRIDE,
	OF_CONNECTION,
};

typedef struct Limit
{
	int per_minute; /* 0: there is none */
	int burst;
	BucketRate rate;
} Limit;

typedef struct Class
{
	char name[CLASS_NAME_SIZE];
	Limit limit;
	SipKey key; /* of its own */
} Class;

typedef struct Classes
{
	Class list[CLASSES_MAX];
	int count;
	Class *general, *key, *tenant; /* or NULL */
} Classes;

/* A tenant's own limit. */
typedef struct Override
{
	uint64_t hash; /* of tenant and class; 0: a free place */
	Limit limit;
} Override;

typedef struct Count
{
	uint64_t hash; /* 0: a free place */
	int connections;
} Count;

static SipKey secret;
static Buckets buckets;
static Classes classes;
static Networks allow, deny, proxies;

static Override *overrides; /* open addressing; a power of two */
static size_t overrides_size, overrides_used;

static Count *counts; /* open addressing; a power of two, never more than half full */
static size_t counts_size, counts_used;

static uint64_t
hash_text(SipKey key, int of, const char *text)
{
	key.k1 ^= (uint64_t) of;
	return siphash(key, text, strlen(text));
}

/* Two names: the hash of the first is part of the second's key. */
static uint64_t
hash_texts(SipKey key, int of, const char *first, const char *second)
{
	key.k0 ^= hash_text(key, of, first);
	return hash_text(key, of, second);
}

static uint64_t
hash_address(SipKey key, int of, const Address *address, int bits)
{
	Address prefix = address_prefix(address, bits);

	key.k1 ^= (uint64_t) of;
	return siphash(key, prefix.bytes, sizeof(prefix.bytes));
}

/* An IPv6 host has a /64 of its own: its addresses are one. */
static int
host_bits(const Address *address)
{
	return address_is_ipv4(address) ? 128 : 64;
}

/*
 * Configuration
 */

static Limit
limit_make(int per_minute, int burst)
{
	Limit limit = {per_minute, burst, {0, burst}};

	if (per_minute > 0)
		limit.rate.interval_ns = 60000000000LL / per_minute;
	return limit;
}

/* "class=per_minute/burst" */
static bool
class_parse(Slice part, Class *class)
{
	const char *end = part.data + part.len;
	const char *equals = memchr(part.data, '=', part.len);
	const char *slash = memchr(part.data, '/', part.len);
	int64_t per_minute, burst;
	size_t len;

	if (equals == NULL || slash == NULL || slash < equals || equals == part.data)
		return false;
	len = (size_t) (equals - part.data);
	if (len >= CLASS_NAME_SIZE ||
		!slice_int((Slice){equals + 1, (size_t) (slash - equals - 1)}, 1, PER_MINUTE_MAX,
				   &per_minute) ||
		!slice_int((Slice){slash + 1, (size_t) (end - slash - 1)}, 1, BURST_MAX, &burst))
		return false;
	memcpy(class->name, part.data, len);
	class->name[len] = '\0';
	class->limit = limit_make((int) per_minute, (int) burst);
	return true;
}

static Class *
class_find(Classes *in, const char *name)
{
	for (int i = 0; i < in->count; i++)
		if (strcmp(in->list[i].name, name) == 0)
			return &in->list[i];
	return NULL;
}

static bool
classes_parse(const char *text, Classes *new, char *error, size_t size)
{
	const char *at = text;

	memset(new, 0, sizeof(*new));
	for (;;)
	{
		Class *class = &new->list[new->count];
		Slice part;

		at += strspn(at, " \t,");
		part = (Slice){at, strcspn(at, " \t,")};
		if (part.len == 0)
			break;
		if (new->count == CLASSES_MAX - 1 || !class_parse(part, class) ||
			class_find(new, class->name) != NULL)
		{
			snprintf(
				error, size,
				"\"rate_limits\": \"%.*s\" is not class=per_minute/burst, of a class that stands once "
				"(1 to %d a minute, burst 1 to %d)",
				(int) (part.len > 100 ? 100 : part.len), part.data, PER_MINUTE_MAX, BURST_MAX);
			return false;
		}
		class->key.k0 = hash_text(secret, 'k', class->name);
		class->key.k1 = hash_text(secret, 'K', class->name);
		new->count++;
		at += part.len;
	}
	return true;
}

static bool
networks_load(Networks *new, const char *name, const char *text, char *error, size_t size)
{
	Slice wrong;

	if (networks_parse(new, text, &wrong))
		return true;
	snprintf(error, size, "\"%s\": \"%.*s\" is neither an address nor address/bits", name,
			 (int) (wrong.len > 100 ? 100 : wrong.len), wrong.data);
	return false;
}

static void
tables_make(void)
{
	size_t random = 0;

	while (random < sizeof(secret))
	{
		ssize_t n = getrandom((char *) &secret + random, sizeof(secret) - random, 0);

		if (n > 0)
			random += (size_t) n;
	}
	buckets_make(&buckets, (size_t) config.rate_buckets);
	counts_size = 16;
	while (counts_size < 2 * (size_t) config.connections_max)
		counts_size *= 2;
	counts = calloc(counts_size, sizeof(Count));
	overrides_size = 64;
	overrides = calloc(overrides_size, sizeof(Override));
	if (counts == NULL || overrides == NULL)
		abort();
}

bool
limit_load(char *error, size_t size)
{
	Networks new_allow = {NULL, 0}, new_deny = {NULL, 0}, new_proxies = {NULL, 0};
	Classes new;

	if (buckets.table == NULL)
		tables_make();
	if (!classes_parse(config.rate_limits, &new, error, size) ||
		!networks_load(&new_allow, "allow", config.allow, error, size) ||
		!networks_load(&new_deny, "deny", config.deny, error, size) ||
		!networks_load(&new_proxies, "trusted_proxies", config.trusted_proxies, error, size))
	{
		networks_free(&new_allow);
		networks_free(&new_deny);
		networks_free(&new_proxies);
		return false;
	}
	networks_free(&allow);
	networks_free(&deny);
	networks_free(&proxies);
	allow = new_allow;
	deny = new_deny;
	proxies = new_proxies;
	classes = new;
	classes.general = class_find(&classes, GENERAL_CLASS);
	classes.key = class_find(&classes, KEY_CLASS);
	classes.tenant = class_find(&classes, TENANT_CLASS);
	return true;
}

/*
 * Tenants' own limits
 */

static Override *
override_place(uint64_t hash)
{
	size_t at = hash & (overrides_size - 1);

	while (overrides[at].hash != 0 && overrides[at].hash != hash)
		at = (at + 1) & (overrides_size - 1);
	return &overrides[at];
}

static uint64_t
override_hash(const char *tenant, const char *class)
{
	uint64_t hash = hash_texts(secret, OF_OVERRIDE, tenant, class);

	return hash != 0 ? hash : 1;
}

static void
overrides_grow(void)
{
	Override *old = overrides;
	size_t old_size = overrides_size;

	overrides_size *= 2;
	overrides = calloc(overrides_size, sizeof(Override));
	if (overrides == NULL)
		abort();
	for (size_t i = 0; i < old_size; i++)
		if (old[i].hash != 0)
			*override_place(old[i].hash) = old[i];
	free(old);
}

void
limit_tenant(const char *tenant, const char *class, int per_minute, int burst)
{
	uint64_t hash = override_hash(tenant, class);
	Override *place = override_place(hash);

	if (place->hash == 0)
	{
		if (per_minute <= 0)
			return;
		if (2 * (overrides_used + 1) > overrides_size)
		{
			overrides_grow();
			place = override_place(hash);
		}
		overrides_used++;
		place->hash = hash;
	}
	/* An entry that means nothing any more stays: tenants are few, and may be given one again. */
	place->limit = limit_make(per_minute < 0                ? 0
							  : per_minute > PER_MINUTE_MAX ? PER_MINUTE_MAX
															: per_minute,
							  burst < 1           ? 1
							  : burst > BURST_MAX ? BURST_MAX
												  : burst);
}

static const Limit *
limit_of(const char *tenant, const char *name, const Class *class)
{
	if (overrides_used > 0)
	{
		const Override *own = override_place(override_hash(tenant, name));

		if (own->hash != 0 && own->limit.per_minute > 0)
			return &own->limit;
	}
	return class != NULL ? &class->limit : NULL;
}

/*
 * Taking
 */

static Bucket *
caller_bucket(const Class *class, const char *tenant, const char *user, const Address *address,
			  int64_t now_ns)
{
	uint64_t keys[2];

	if (user[0] != '\0')
	{
		keys[0] = hash_texts(class->key, OF_USER, tenant, user);
		keys[1] = hash_text(class->key, OF_USERS, tenant);
	}
	else
	{
		keys[0] = hash_address(class->key, OF_ADDRESS, address, host_bits(address));
		keys[1] = hash_address(class->key, OF_NETWORK, address,
							   address_is_ipv4(address) ? 96 + 24 : 48);
	}
	return bucket_find(&buckets, keys, 2, now_ns);
}

static int
seconds_of(int64_t ns)
{
	int64_t seconds = (ns + 999999999) / 1000000000;

	return seconds > INT_MAX ? INT_MAX : (int) seconds;
}

/* What a bucket says, when a token was taken from it or not. */
static LimitAnswer
answer_of(const Bucket *bucket, const Limit *limit, bool allowed, int64_t now_ns)
{
	LimitAnswer answer = {.allowed = allowed, .limit = limit->per_minute};

	answer.remaining = (int) bucket_tokens(bucket, limit->rate, now_ns);
	answer.reset_seconds = seconds_of(bucket_full_ns(bucket, limit->rate, now_ns));
	if (!allowed)
	{
		answer.retry_after_seconds = seconds_of(bucket_wait_ns(bucket, limit->rate, now_ns));
		if (answer.retry_after_seconds < 1)
			answer.retry_after_seconds = 1;
	}
	return answer;
}

double
limit_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

LimitAnswer
limit_take(const char *class_name, const char *tenant, const char *user, bool is_key,
		   const Address *address, double now)
{
	int64_t now_ns = (int64_t) (now * 1e9);
	Class *class = class_find(&classes, class_name);
	const Limit *own, *all;
	Bucket *bucket = NULL, *tenant_bucket = NULL;
	LimitAnswer first = {.allowed = true}, second = {.allowed = true};
	bool allowed;

	if (class == NULL)
		class = classes.general;
	if (is_key && class == classes.general && classes.key != NULL)
		class = classes.key;
	own = class ? limit_of(tenant, class->name, class) : NULL;
	all = limit_of(tenant, TENANT_CLASS, classes.tenant);
	if (all != NULL)
	{
		uint64_t key = hash_text(secret, OF_TENANT, tenant);

		tenant_bucket = bucket_find(&buckets, &key, 1, now_ns);
	}
	/* Once in a hundred thousand times it takes the place of the tenant's, which was full: a token is lost then. */
	if (own != NULL)
		bucket = caller_bucket(class, tenant, user, address, now_ns);
	allowed = (bucket == NULL || bucket_tokens(bucket, own->rate, now_ns) > 0) &&
			  (tenant_bucket == NULL || bucket_tokens(tenant_bucket, all->rate, now_ns) > 0);
	if (allowed && bucket != NULL)
		bucket_take(bucket, own->rate, now_ns);
	if (allowed && tenant_bucket != NULL)
		bucket_take(tenant_bucket, all->rate, now_ns);
	if (bucket != NULL)
		first = answer_of(bucket, own, allowed, now_ns);
	if (tenant_bucket != NULL)
		second = answer_of(tenant_bucket, all, allowed, now_ns);
	if (bucket == NULL)
		return second;
	if (tenant_bucket == NULL)
		return first;
	if (second.remaining < first.remaining ||
		(second.remaining == first.remaining &&
		 second.retry_after_seconds > first.retry_after_seconds))
		return second;
	return first;
}

static Bucket *
credentials_bucket(const Class *class, const Address *address, double now)
{
	return class ? caller_bucket(class, "", "", address, (int64_t) (now * 1e9)) : NULL;
}

void
limit_wrong_credential(const Address *address, double now)
{
	const Class *class = class_find(&classes, CREDENTIALS_CLASS);
	Bucket *bucket = credentials_bucket(class, address, now);

	if (bucket != NULL && bucket_tokens(bucket, class->limit.rate, (int64_t) (now * 1e9)) > 0)
		bucket_take(bucket, class->limit.rate, (int64_t) (now * 1e9));
}

bool
limit_may_try_credential(const Address *address, double now, LimitAnswer *answer)
{
	const Class *class = class_find(&classes, CREDENTIALS_CLASS);
	Bucket *bucket = credentials_bucket(class, address, now);
	bool may = bucket == NULL ||
			   bucket_tokens(bucket, class->limit.rate, (int64_t) (now * 1e9)) > 0;

	*answer = bucket == NULL ? (LimitAnswer){.allowed = true}
							 : answer_of(bucket, &class->limit, may, (int64_t) (now * 1e9));
	return may;
}

int64_t
limit_crowded(void)
{
	return buckets.crowded;
}

/*
 * Addresses
 */

bool
limit_address_allowed(const Address *address)
{
	return !networks_have(&deny, address) && (allow.count == 0 || networks_have(&allow, address));
}

Address
limit_client(const Address *peer, Slice x_forwarded_for)
{
	return address_of_client(peer, x_forwarded_for, &proxies);
}

bool
limit_parse_address(const char *text, Address *address)
{
	return address_parse((Slice){text, strlen(text)}, address);
}

void
limit_format_address(const Address *address, char *text, size_t size)
{
	address_format(address, text, size);
}

/*
 * Connections
 */

static size_t
count_place(uint64_t hash)
{
	size_t at = hash & (counts_size - 1);

	while (counts[at].hash != 0 && counts[at].hash != hash)
		at = (at + 1) & (counts_size - 1);
	return at;
}

static uint64_t
count_hash(const Address *address)
{
	uint64_t hash = hash_address(secret, OF_CONNECTION, address, host_bits(address));

	return hash != 0 ? hash : 1;
}

/* Trusted proxies carry the connections of many. */
bool
limit_connect(const Address *address)
{
	uint64_t hash;
	Count *count;

	if (networks_have(&proxies, address))
		return true;
	hash = count_hash(address);
	count = &counts[count_place(hash)];
	if (count->connections >= config.connections_per_address_max)
		return false;
	if (count->hash == 0)
	{
		if (2 * (counts_used + 1) > counts_size)
			return false;
		counts_used++;
		count->hash = hash;
	}
	count->connections++;
	return true;
}

/* Take the entry at `at` away: those behind it that could not stand at their own place move up. */
static void
count_remove(size_t at)
{
	size_t next = at;

	for (;;)
	{
		next = (next + 1) & (counts_size - 1);
		if (counts[next].hash == 0)
			break;
		/* Its own place lies at or before the gap, seen from where it stands. */
		if (((next - counts[next].hash) & (counts_size - 1)) >= ((next - at) & (counts_size - 1)))
		{
			counts[at] = counts[next];
			at = next;
		}
	}
	counts[at] = (Count){0, 0};
	counts_used--;
}

void
limit_disconnect(const Address *address)
{
	size_t at = count_place(count_hash(address));

	/* Of a proxy, or of one that became none with a reload, there is no count. */
	if (counts[at].hash != 0 && --counts[at].connections == 0)
		count_remove(at);
}
