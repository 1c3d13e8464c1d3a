/*
 * gateway/budget.c
 *	  The bytes that clients make usherd hold.
 */
#include "budget.h"

#include "config.h"

static int64_t held, refusals;

void
budget_change(int64_t bytes)
{
	held += bytes;
}

bool
budget_has_room(int64_t bytes)
{
	return held + bytes <= config.buffer_bytes_max;
}

int64_t
budget_bytes(void)
{
	return held;
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
