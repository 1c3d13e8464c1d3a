/*
 * gateway/fanout_turn.h
 *	  Clients that have not everything get it in turn: a frame each, a few milliseconds in a round of the loop.
 */
#ifndef USHERD_FANOUT_TURN_H
#define USHERD_FANOUT_TURN_H

#include "fanout.h"

extern void turn_start(void);
extern void turn_queue(Client *client); /* it can go on, or may want to */
/* If it is current: it has nothing of what lies behind this position, and gets it in its turn. */
extern void turn_instead(Client *client, int64_t position);
extern void turn_leave(Client *client);

/* fanout.c */
extern FanoutCounts *fanout_counters(void);
extern void client_becomes_current(Client *client);
extern void client_falls_back(Client *client, int64_t position); /* it has everything up to there */
extern void client_is_behind(Client *client, bool behind);
extern void subscription_becomes_live(Subscription *subscription);

#endif /* USHERD_FANOUT_TURN_H */
