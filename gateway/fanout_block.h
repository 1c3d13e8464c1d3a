/*
 * gateway/fanout_block.h
 *	  Pages of the log behind the events in memory, for whoever has fallen behind them.
 *
 * At most four are read at a time, for those who wait in turn; a page is for all of its tenant who wait at a position that
 * it covers.  Some stay for a moment, so that who comes a little later finds them.
 */
#ifndef USHERD_FANOUT_BLOCK_H
#define USHERD_FANOUT_BLOCK_H

#include "fanout.h"
#include "fanout_ring.h"

struct Block
{
	char *tenant; /* NULL: nothing is here */
	int64_t after, next; /* it has what is behind after, up to next */
	RingEvent *events;
	int n;
	int users; /* subscriptions that have it, and have not had their turn */
	uint64_t used; /* the newest stays */
	double read; /* when; an old one has what may have been removed from the log since then */
	Arena arena;
};

typedef struct BlockCalls
{
	void (*came)(Subscription *subscription); /* it has a block */
	/* What follows its position was removed. */
	void (*gone)(Subscription *subscription, int64_t oldest);
} BlockCalls;

extern void block_start(const BlockCalls *calls);
/* The block with what follows the subscription's position; NULL: it waits, and came() or gone() is called. */
extern Block *block_get(Subscription *subscription);
extern void block_forget(Subscription *subscription); /* it needs none now */
extern int block_find(const Block *block, int64_t position); /* the first event behind it */
extern void block_sweep(void); /* old ones go, and pages that could not be read are asked for again */
extern int64_t block_pages(void); /* read so far */

#endif /* USHERD_FANOUT_BLOCK_H */
