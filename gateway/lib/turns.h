/*
 * gateway/lib/turns.h
 *	  A bounded queue whose tenants are served in turn.
 *
 * Pure C.  Entries are the caller's, and begin with a Turn; a tenant's leave in
 * the order in which they came.  While others wait, a tenant holds at most half
 * of the queue: one that had filled it alone gives way, its youngest entry first.
 */
#ifndef USHERD_TURNS_H
#define USHERD_TURNS_H

#include <stdbool.h>
#include <stddef.h>

#include "hash_table.h"

typedef struct TurnTenant TurnTenant;

typedef struct Turn
{
	TurnTenant *tenant; /* while it waits */
	struct Turn *next, *previous; /* of its tenant */
	struct Turn *younger, *older; /* of all */
	double since;
} Turn;

/* Begin with {.max = entries}. */
typedef struct Turns
{
	size_t max;
	size_t count;
	Turn *oldest, *youngest;
	TurnTenant *turn; /* whose turn it is: a ring */
	TurnTenant *hog; /* the one who holds more than half, if any */
	HashTable tenants; /* by name */
	size_t ntenants;
} Turns;

/*
 * false: there is no room for it.  *evicted is NULL, or the entry that had to leave for it; it is the
 * caller's again.
 */
extern bool turns_add(Turns *turns, Turn *turn, const char *tenant, double now, Turn **evicted);
/* The next one in turn; NULL: nobody waits. */
extern Turn *turns_take(Turns *turns);
/* One that was taken and not served: in front of its tenant's others, with the age that it had. */
extern void turns_put_back(Turns *turns, Turn *turn, const char *tenant);
extern void turns_remove(Turns *turns, Turn *turn);
extern void turns_free(Turns *turns); /* nobody may wait any more */

#endif /* USHERD_TURNS_H */
