/*
 * gateway/budget.c
 *	  The bytes that clients make usherd hold.
 *
 * Shares stand in a hash table while somebody has them; only the loop's thread is here.
 */
#include "budget.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/siphash.h"

#define BUCKETS       1024 /* a power of two */
#define TENANT_FACTOR 4

struct BudgetShare
{
	BudgetShare *next;
	int64_t users, held, requests, live;
	char tenant[];
};

static BudgetShare *buckets[BUCKETS];
static BudgetShare unknown; /* of those whom nobody knows */
static int64_t held, refusals;

static BudgetShare **
share_place(const char *tenant)
{
	static const SipKey key; /* names of tenants are not strangers' to choose */
	BudgetShare **at = &buckets[siphash(key, tenant, strlen(tenant)) & (BUCKETS - 1)];

	while (*at && strcmp((*at)->tenant, tenant) != 0)
		at = &(*at)->next;
	return at;
}

BudgetShare *
budget_share(const char *tenant)
{
	BudgetShare **at;

	if (tenant == NULL)
		return NULL;
	at = share_place(tenant);
	if (*at == NULL)
	{
		*at = calloc(1, sizeof(BudgetShare) + strlen(tenant) + 1);
		if (*at == NULL)
			abort();
		strcpy((*at)->tenant, tenant);
	}
	return budget_keep(*at);
}

BudgetShare *
budget_keep(BudgetShare *share)
{
	if (share)
		share->users++;
	return share;
}

void
budget_release(BudgetShare *share)
{
	if (share == NULL || --share->users > 0)
		return;
	*share_place(share->tenant) = share->next;
	free(share);
}

void
budget_change(BudgetShare *share, int64_t bytes)
{
	held += bytes;
	(share ? share : &unknown)->held += bytes;
}

bool
budget_has_room(const BudgetShare *share, int64_t bytes)
{
	int64_t left = config.buffer_bytes_max - held - bytes;

	return left >= 0 && (share ? share : &unknown)->held + bytes <= TENANT_FACTOR * left;
}

void
budget_request(BudgetShare *share, int more)
{
	(share ? share : &unknown)->requests += more;
}

bool
budget_has_request(const BudgetShare *share, int all)
{
	return (share ? share : &unknown)->requests <=
		   TENANT_FACTOR * ((int64_t) config.requests_in_flight_max - all);
}

int64_t
budget_bytes(void)
{
	return held;
}

void
budget_live(BudgetShare *share, int more)
{
	(share ? share : &unknown)->live += more;
}

/* So that alone it comes to that many percent of all. */
bool
budget_has_live(const BudgetShare *share, int left)
{
	int64_t percent = config.live_connections_per_tenant_percent;

	return (share ? share : &unknown)->live * (100 - percent) <= percent * (int64_t) left;
}

void
budget_refused(void)
{
	refusals++;
}

int64_t
budget_refusals(void)
{
	return refusals;
}
