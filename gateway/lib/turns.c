/*
 * gateway/lib/turns.c
 *	  A bounded queue whose tenants are served in turn.
 *
 * A tenant exists while it has entries: in a hash table by name, and in the ring
 * of those who wait.  Beside its tenant's list an entry is in the list of all by
 * age, so that the oldest is found at once; what is put back goes where its age
 * says, which is near the old end.
 */
#include "turns.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct TurnTenant
{
	Hashed hashed; /* first */
	TurnTenant *next, *previous; /* of the ring */
	Turn *first, *last;
	size_t count;
	char name[];
};

static void *
allocated(void *memory)
{
	if (memory == NULL)
	{
		fputs("usherd: out of memory\n", stderr);
		abort();
	}
	return memory;
}

/* FNV-1a: names come from verified tokens, and the table is no larger than the queue. */
static uint64_t
name_hash(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char) *name) * 0x100000001b3u;
	return hash;
}

static TurnTenant *
tenant_find(const Turns *turns, const char *name, uint64_t hash)
{
	TurnTenant *tenant = (TurnTenant *) hash_first(&turns->tenants, hash);

	while (tenant != NULL && strcmp(tenant->name, name) != 0)
		tenant = (TurnTenant *) hash_next(&tenant->hashed);
	return tenant;
}

/* It is served last: behind all who wait already. */
static TurnTenant *
tenant_new(Turns *turns, const char *name, uint64_t hash)
{
	size_t size = strlen(name) + 1;
	TurnTenant *tenant = allocated(calloc(1, sizeof(*tenant) + size));

	memcpy(tenant->name, name, size);
	tenant->hashed.hash = hash;
	hash_add(&turns->tenants, &tenant->hashed);
	turns->ntenants++;
	if (turns->turn == NULL)
		turns->turn = tenant->next = tenant->previous = tenant;
	else
	{
		tenant->next = turns->turn;
		tenant->previous = turns->turn->previous;
		tenant->previous->next = tenant->next->previous = tenant;
	}
	return tenant;
}

static void
tenant_free(Turns *turns, TurnTenant *tenant)
{
	hash_remove(&turns->tenants, &tenant->hashed);
	turns->ntenants--;
	if (tenant->next == tenant)
		turns->turn = NULL;
	else
	{
		tenant->next->previous = tenant->previous;
		tenant->previous->next = tenant->next;
		if (turns->turn == tenant)
			turns->turn = tenant->next;
	}
	free(tenant);
}

/* Into the list of all, by its age. */
static void
insert_by_age(Turns *turns, Turn *turn, bool old)
{
	Turn *older;

	if (old)
	{
		Turn *younger = turns->oldest;

		while (younger != NULL && younger->since <= turn->since)
			younger = younger->younger;
		older = younger != NULL ? younger->older : turns->youngest;
	}
	else
		older = turns->youngest;
	turn->older = older;
	turn->younger = older != NULL ? older->younger : turns->oldest;
	*(turn->older != NULL ? &turn->older->younger : &turns->oldest) = turn;
	*(turn->younger != NULL ? &turn->younger->older : &turns->youngest) = turn;
}

static void
insert(Turns *turns, Turn *turn, TurnTenant *tenant, bool front)
{
	turn->tenant = tenant;
	turn->previous = front ? NULL : tenant->last;
	turn->next = front ? tenant->first : NULL;
	*(turn->previous != NULL ? &turn->previous->next : &tenant->first) = turn;
	*(turn->next != NULL ? &turn->next->previous : &tenant->last) = turn;
	insert_by_age(turns, turn, front);
	turns->count++;
	if (++tenant->count > turns->max / 2)
		turns->hog = tenant;
}

void
turns_remove(Turns *turns, Turn *turn)
{
	TurnTenant *tenant = turn->tenant;

	*(turn->previous != NULL ? &turn->previous->next : &tenant->first) = turn->next;
	*(turn->next != NULL ? &turn->next->previous : &tenant->last) = turn->previous;
	*(turn->older != NULL ? &turn->older->younger : &turns->oldest) = turn->younger;
	*(turn->younger != NULL ? &turn->younger->older : &turns->youngest) = turn->older;
	turn->tenant = NULL;
	turns->count--;
	if (--tenant->count <= turns->max / 2 && turns->hog == tenant)
		turns->hog = NULL;
	if (tenant->count == 0)
		tenant_free(turns, tenant);
}

bool
turns_add(Turns *turns, Turn *turn, const char *tenant_name, double now, Turn **evicted)
{
	uint64_t hash = name_hash(tenant_name);
	TurnTenant *tenant = tenant_find(turns, tenant_name, hash);
	size_t mine = tenant != NULL ? tenant->count : 0;

	*evicted = NULL;
	if (turns->count > mine && mine >= turns->max / 2 && mine > 0)
		return false;
	if (turns->count >= turns->max)
	{
		if (turns->hog == NULL || turns->hog == tenant)
			return false;
		*evicted = turns->hog->last;
		turns_remove(turns, *evicted);
	}
	turn->since = now;
	insert(turns, turn, tenant != NULL ? tenant : tenant_new(turns, tenant_name, hash), false);
	return true;
}

Turn *
turns_take(Turns *turns)
{
	TurnTenant *tenant = turns->turn;
	Turn *turn;

	if (tenant == NULL)
		return NULL;
	turns->turn = tenant->next;
	turn = tenant->first;
	turns_remove(turns, turn);
	return turn;
}

void
turns_put_back(Turns *turns, Turn *turn, const char *tenant_name)
{
	uint64_t hash = name_hash(tenant_name);
	TurnTenant *tenant = tenant_find(turns, tenant_name, hash);

	if (tenant == NULL)
		tenant = tenant_new(turns, tenant_name, hash);
	insert(turns, turn, tenant, true);
}

void
turns_free(Turns *turns)
{
	hash_free(&turns->tenants, NULL);
	*turns = (Turns){.max = turns->max};
}
