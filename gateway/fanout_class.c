/*
 * gateway/fanout_class.c
 *	  Clients that want the same.
 *
 * Tenants, wants and classes are counted, and gone with their last user.  Those who ask for the same
 * filter in another order of its patterns have a want of their own; that costs memory, not events.
 */
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "fanout_class.h"

#define INDEX_BYTES 640 /* of a want, about */

struct Tenant
{
	Tenant *next;
	InterestIndex *index;
	int users;
	BudgetShare *share;
	char name[];
};

static struct
{
	SipKey key;
	Tenant *tenants[1024];
	HashTable wants, classes;
	uint64_t serial;
	/* of the call of class_match() */
	void (*found)(Class *class, uint64_t number);
	uint64_t number;
} all;

static void *
zalloc(size_t size)
{
	void *memory = calloc(1, size);

	if (memory == NULL)
		abort();
	return memory;
}

void
class_start(void)
{
	if (RAND_bytes((unsigned char *) &all.key, sizeof(all.key)) != 1)
		abort();
}

/*
 * Tenants
 */

static Tenant **
tenant_place(const char *name)
{
	uint64_t hash = siphash(all.key, name, strlen(name));
	Tenant **at = &all.tenants[hash % (sizeof(all.tenants) / sizeof(all.tenants[0]))];

	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

Tenant *
tenant_use(const char *name)
{
	Tenant **at = tenant_place(name);

	if (*at == NULL)
	{
		*at = zalloc(sizeof(Tenant) + strlen(name) + 1);
		strcpy((*at)->name, name);
		(*at)->index = index_make(all.key);
		(*at)->share = budget_share(name);
	}
	(*at)->users++;
	return *at;
}

void
tenant_leave(Tenant *tenant)
{
	if (--tenant->users > 0)
		return;
	*tenant_place(tenant->name) = tenant->next;
	index_free(tenant->index);
	budget_release(tenant->share);
	free(tenant);
}

bool
tenant_is(const Tenant *tenant, const char *name)
{
	return strcmp(tenant->name, name) == 0;
}

/*
 * Wants
 */

static void
key_slice(Text *key, const char *data, size_t len)
{
	text_add(key, (char *) &len, sizeof(len));
	text_add(key, data, len);
}

static Slice
key_of(const Tenant *tenant, const EventFilter *filter)
{
	static Text key;

	key.len = 0;
	text_add(&key, (char *) &tenant, sizeof(tenant));
	text_add(&key, (char *) &filter->ntypes, sizeof(filter->ntypes));
	text_add(&key, (char *) &filter->nstreams, sizeof(filter->nstreams));
	for (int i = 0; i < filter->ntypes; i++)
		key_slice(&key, filter->types[i].data, filter->types[i].len);
	for (int i = 0; i < filter->nstreams; i++)
		key_slice(&key, filter->streams[i].data, filter->streams[i].len);
	if (filter->members.kind == JSON_OBJECT)
		text_add(&key, filter->members.text.data, filter->members.text.len);
	return (Slice){key.data, key.len};
}

/* Its key, its copy, and what stands in the index. */
size_t
want_bytes(const EventFilter *filter)
{
	size_t bytes = filter->members.kind == JSON_OBJECT ? filter->members.text.len : 0;

	for (int i = 0; i < filter->ntypes; i++)
		bytes += filter->types[i].len;
	for (int i = 0; i < filter->nstreams; i++)
		bytes += filter->streams[i].len;
	return sizeof(Want) + INDEX_BYTES + 3 * bytes;
}

Want *
want_use(Tenant *tenant, const EventFilter *filter)
{
	Slice key = key_of(tenant, filter);
	uint64_t hash = siphash(all.key, key.data, key.len);
	Want *want = (Want *) hash_first(&all.wants, hash);

	while (want && !(want->key_len == key.len && memcmp(want->key, key.data, key.len) == 0))
		want = (Want *) hash_next(&want->hashed);
	if (want == NULL)
	{
		want = zalloc(sizeof(Want) + key.len);
		want->hashed.hash = hash;
		want->serial = ++all.serial;
		want->tenant = tenant;
		want->key_len = key.len;
		memcpy(want->key, key.data, key.len);
		tenant->users++;
		budget_change(tenant->share, (int64_t) want_bytes(filter));
		hash_add(&all.wants, &want->hashed);
		interest_begin(&want->interest, filter);
		index_add(tenant->index, &want->interest);
	}
	want->users++;
	return want;
}

void
want_leave(Want *want)
{
	if (--want->users > 0)
		return;
	hash_remove(&all.wants, &want->hashed);
	budget_change(want->tenant->share, -(int64_t) want_bytes(&want->interest.filter));
	index_remove(want->tenant->index, &want->interest);
	interest_end(&want->interest);
	tenant_leave(want->tenant);
	free(want->classes);
	free(want);
}

/*
 * Classes
 */

static int
by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (Want *const *) a, y = (uintptr_t) * (Want *const *) b;

	return (x > y) - (x < y);
}

static bool
is_class(const Class *class, const Transport *transport, Want **wants, int n)
{
	if (class->transport != transport || class->nwants != n)
		return false;
	for (int i = 0; i < n; i++)
		if (class->wants[i].want != wants[i])
			return false;
	return true;
}

/* The class stands with its want, at a place that it knows. */
static void
want_add_class(Want *want, Class *class, int i)
{
	if (want->nclasses == want->size)
	{
		want->size = want->size ? want->size * 2 : 1;
		want->classes = realloc(want->classes, sizeof(Class *) * (size_t) want->size);
		if (want->classes == NULL)
			abort();
	}
	want->users++;
	class->wants[i].want = want;
	class->wants[i].place = want->nclasses;
	want->classes[want->nclasses++] = class;
}

static void
want_remove_class(Want *want, int place)
{
	Class *last = want->classes[--want->nclasses];

	want->classes[place] = last;
	for (int i = 0; i < last->nwants; i++)
		if (last->wants[i].want == want)
			last->wants[i].place = place;
	want_leave(want);
}

Class *
class_use(const Transport *transport, Tenant *tenant, Want **wants, int n)
{
	Class *class;
	uint64_t hash;
	int kept = 0;

	if (n == 0)
		return NULL;
	qsort(wants, (size_t) n, sizeof(Want *), by_address);
	for (int i = 0; i < n; i++)
		if (kept == 0 || wants[kept - 1] != wants[i])
			wants[kept++] = wants[i];
	hash = siphash(all.key, wants, sizeof(Want *) * (size_t) kept);
	class = (Class *) hash_first(&all.classes, hash);
	while (class && !is_class(class, transport, wants, kept))
		class = (Class *) hash_next(&class->hashed);
	if (class == NULL)
	{
		class = zalloc(sizeof(Class) + sizeof(struct ClassWant) * (size_t) kept);
		class->hashed.hash = hash;
		class->serial = ++all.serial;
		class->transport = transport;
		class->tenant = tenant;
		class->nwants = kept;
		tenant->users++;
		hash_add(&all.classes, &class->hashed);
		for (int i = 0; i < kept; i++)
			want_add_class(wants[i], class, i);
	}
	class->users++;
	return class;
}

void
class_leave(Class *class)
{
	if (--class->users > 0)
		return;
	hash_remove(&all.classes, &class->hashed);
	for (int i = 0; i < class->nwants; i++)
		want_remove_class(class->wants[i].want, class->wants[i].place);
	tenant_leave(class->tenant);
	free(class->events);
	free(class);
}

/* A class that two of its wants name has the event once. */
static void
found_want(void *context, Interest *interest)
{
	Want *want = (Want *) ((char *) interest - offsetof(Want, interest));

	(void) context;
	for (int i = 0; i < want->nclasses; i++)
	{
		Class *class = want->classes[i];

		if (class->nevents == 0 || class->events[class->nevents - 1] != all.number)
			all.found(class, all.number);
	}
}

void
class_match(const char *tenant, const FilterEvent *event,
			void (*found)(Class *class, uint64_t number), uint64_t number)
{
	Tenant *of = *tenant_place(tenant);

	if (of == NULL)
		return;
	all.found = found;
	all.number = number;
	index_match(of->index, event, found_want, NULL);
}

int
class_count(void)
{
	return (int) all.classes.count;
}
