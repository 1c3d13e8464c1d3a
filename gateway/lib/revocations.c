/*
 * gateway/lib/revocations.c
 *	  A hash table of revocations that grows coarser instead of larger.
 *
 * An entry is of one id, or (its id is NULL) of a tenant's whole kind; the array
 * `everywhere` holds what is left of a kind when no tenant's group is large.
 * Hashes are keyed: ids are chosen by others.
 */
#include "revocations.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

typedef struct Revocation
{
	struct Revocation *chain;
	uint64_t hash;
	int64_t not_before;
	RevocationKind kind;
	const char *id; /* NULL: all of the tenant's kind */
	char tenant[]; /* and behind it the id */
} Revocation;

struct Revocations
{
	Revocation **buckets;
	uint64_t mask;
	uint64_t generation;
	int count, max;
	bool any_groups;
	int64_t everywhere[REVOKE_KINDS];
	unsigned char seed[16];
};

/* Shorter groups than this part of the table are not worth an entry of their own. */
#define GROUP_PART 64

static const char *const kinds[REVOKE_KINDS] = {"session", "user", "key", "tenant"};

bool
revocations_kind(const char *name, RevocationKind *kind)
{
	for (int i = 0; i < REVOKE_KINDS; i++)
		if (strcmp(kinds[i], name) == 0)
		{
			*kind = (RevocationKind) i;
			return true;
		}
	return false;
}

Revocations *
revocations_make(int max)
{
	Revocations *r = calloc(1, sizeof(Revocations));
	uint64_t size = 1;

	if (r == NULL)
		abort();
	r->max = max < 4 ? 4 : max;
	while (size < (uint64_t) r->max)
		size *= 2;
	r->mask = size - 1;
	r->buckets = calloc(size, sizeof(Revocation *));
	if (r->buckets == NULL || RAND_bytes(r->seed, sizeof(r->seed)) != 1)
		abort();
	return r;
}

void
revocations_free(Revocations *r)
{
	if (r == NULL)
		return;
	for (uint64_t b = 0; b <= r->mask; b++)
		while (r->buckets[b] != NULL)
		{
			Revocation *e = r->buckets[b];

			r->buckets[b] = e->chain;
			free(e);
		}
	free(r->buckets);
	free(r);
}

static uint64_t
hash_of(const Revocations *r, const char *tenant, RevocationKind kind, const char *id)
{
	unsigned char text[sizeof(r->seed) + 2 + 64 + REVOCATION_ID_MAX], digest[SHA256_BYTES];
	size_t tenant_len = strnlen(tenant, 63), id_len = id ? strnlen(id, REVOCATION_ID_MAX) : 0;
	size_t len = sizeof(r->seed);
	uint64_t hash;

	memcpy(text, r->seed, len);
	text[len++] = (unsigned char) kind;
	text[len++] = id != NULL;
	memcpy(text + len, tenant, tenant_len);
	len += tenant_len;
	text[len++] = '\0';
	if (id != NULL)
		memcpy(text + len, id, id_len);
	sha256(text, len + id_len, digest);
	memcpy(&hash, digest, sizeof(hash));
	return hash;
}

static Revocation *
find(const Revocations *r, const char *tenant, RevocationKind kind, const char *id, uint64_t hash)
{
	Revocation *e = r->buckets[hash & r->mask];

	while (e != NULL && !(e->hash == hash && e->kind == kind && (e->id == NULL) == (id == NULL) &&
						  strcmp(e->tenant, tenant) == 0 && (id == NULL || strcmp(e->id, id) == 0)))
		e = e->chain;
	return e;
}

static void
put(Revocations *r, const char *tenant, RevocationKind kind, const char *id, int64_t not_before)
{
	uint64_t hash = hash_of(r, tenant, kind, id);
	Revocation *e = find(r, tenant, kind, id, hash);
	size_t tenant_size = strlen(tenant) + 1, id_size = id ? strlen(id) + 1 : 0;

	if (e != NULL)
	{
		if (not_before > e->not_before)
			e->not_before = not_before;
		return;
	}
	e = malloc(sizeof(Revocation) + tenant_size + id_size);
	if (e == NULL)
		abort();
	e->hash = hash;
	e->kind = kind;
	e->not_before = not_before;
	memcpy(e->tenant, tenant, tenant_size);
	e->id = id ? memcpy(e->tenant + tenant_size, id, id_size) : NULL;
	e->chain = r->buckets[hash & r->mask];
	r->buckets[hash & r->mask] = e;
	r->count++;
}

static int
by_group(const void *a, const void *b)
{
	const Revocation *x = *(const Revocation *const *) a, *y = *(const Revocation *const *) b;
	int order = (int) x->kind - (int) y->kind;

	if (order == 0)
		order = strcmp(x->tenant, y->tenant);
	return order != 0 ? order : (x->not_before > y->not_before) - (x->not_before < y->not_before);
}

static int
by_kind(const void *a, const void *b)
{
	const Revocation *x = *(const Revocation *const *) a, *y = *(const Revocation *const *) b;
	int order = (int) x->kind - (int) y->kind;

	return order != 0 ? order : (x->not_before > y->not_before) - (x->not_before < y->not_before);
}

/* Where the longest run of equal kinds (and tenants) begins, and how long it is. */
static int
longest_run(Revocation **all, int n, bool tenants, int *begin)
{
	int longest = 0;

	for (int i = 0, from = 0; i < n; i++)
	{
		if (all[i]->kind != all[from]->kind ||
			(tenants && strcmp(all[i]->tenant, all[from]->tenant) != 0))
			from = i;
		if (i - from + 1 > longest)
		{
			longest = i - from + 1;
			*begin = from;
		}
	}
	return longest;
}

/* Removes those of the kind (of the tenant, or NULL: of all) that are not later than that. */
static void
forget(Revocations *r, const char *tenant, RevocationKind kind, int64_t not_before)
{
	for (uint64_t b = 0; b <= r->mask; b++)
		for (Revocation **link = &r->buckets[b]; *link != NULL;)
		{
			Revocation *e = *link;

			if (e->kind == kind && e->not_before <= not_before &&
				(tenant == NULL || strcmp(e->tenant, tenant) == 0))
			{
				*link = e->chain;
				free(e);
				r->count--;
			}
			else
				link = &e->chain;
		}
}

/* The table is full: the older half of the largest group becomes one entry. */
static void
coarsen(Revocations *r)
{
	Revocation **all = malloc(sizeof(Revocation *) * (size_t) r->count);
	int n = 0, begin = 0, len;
	char tenant[64];
	RevocationKind kind;
	int64_t median;

	if (all == NULL)
		abort();
	for (uint64_t b = 0; b <= r->mask; b++)
		for (Revocation *e = r->buckets[b]; e != NULL; e = e->chain)
			all[n++] = e;
	qsort(all, (size_t) n, sizeof(Revocation *), by_group);
	len = longest_run(all, n, true, &begin);
	if (len < 4 || len < n / GROUP_PART)
	{
		qsort(all, (size_t) n, sizeof(Revocation *), by_kind);
		len = longest_run(all, n, false, &begin);
		kind = all[begin]->kind;
		median = all[begin + len / 2]->not_before;
		forget(r, NULL, kind, median);
		if (median > r->everywhere[kind])
			r->everywhere[kind] = median;
	}
	else
	{
		kind = all[begin]->kind;
		median = all[begin + len / 2]->not_before;
		strcpy(tenant, all[begin]->tenant);
		forget(r, tenant, kind, median);
		put(r, tenant, kind, NULL, median);
		r->any_groups = true;
	}
	free(all);
}

void
revocations_add(Revocations *r, const char *tenant, RevocationKind kind, const char *id,
				int64_t not_before)
{
	/* Nobody can have such a tenant or id. */
	if (strlen(tenant) > 63 || (kind != REVOKE_TENANT && strlen(id) > REVOCATION_ID_MAX))
		return;
	if (not_before <= r->everywhere[kind])
		return;
	if (r->count >= r->max)
		coarsen(r);
	put(r, tenant, kind, kind == REVOKE_TENANT ? "" : id, not_before);
	r->generation++;
}

static bool
ended(const Revocations *r, const Identity *identity, RevocationKind kind, const char *id)
{
	const char *tenant = identity->tenant;
	const Revocation *e;

	if (identity->issued_at < r->everywhere[kind])
		return true;
	if (r->any_groups &&
		(e = find(r, tenant, kind, NULL, hash_of(r, tenant, kind, NULL))) != NULL &&
		identity->issued_at < e->not_before)
		return true;
	e = find(r, tenant, kind, id, hash_of(r, tenant, kind, id));
	return e != NULL && identity->issued_at < e->not_before;
}

bool
revocations_has(const Revocations *r, const Identity *identity)
{
	if (r->generation == 0 || identity->anonymous)
		return false;
	if (ended(r, identity, REVOKE_TENANT, ""))
		return true;
	if (identity->is_key)
		return ended(r, identity, REVOKE_KEY, identity->user);
	return ended(r, identity, REVOKE_USER, identity->user) ||
		   (identity->session[0] != '\0' && ended(r, identity, REVOKE_SESSION, identity->session));
}

uint64_t
revocations_generation(const Revocations *r)
{
	return r->generation;
}

int
revocations_count(const Revocations *r)
{
	return r->count;
}
