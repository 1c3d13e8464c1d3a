/*
 * gateway/fanout.h
 *	  The log, live, for many clients: read once, whatever their number.
 *
 * A Client is a position and what it wants; nothing is queued for it.  Who can
 * be written to gets everything behind its position at once, from the newest
 * events in memory or, when it has fallen behind them, from the database.  The
 * transport (WebSocket, server-sent events) makes frames of what it is given.
 *
 *		subscription: PAST ── reads the log up to the client's position ──► LIVE
 *
 * A client's live position is one for all its live subscriptions, so an event
 * goes once to it, in order; a subscription in the past has its own.
 */
#ifndef USHERD_FANOUT_H
#define USHERD_FANOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "lib/event_filter.h"

typedef struct Client Client;
typedef struct Subscription Subscription;

struct Subscription
{
	Subscription *next;
	Client *client;
	char id[65];
	EventFilter filter;
	bool live;
	bool reading; /* a page of the past is asked for */
	bool ended; /* while that page is on its way */
	int64_t position; /* everything up to here was handed over, or was not wanted */
	Subscription *waiting; /* in the readers' queue */
};

typedef struct Transport
{
	bool (*choked)(
		Client *
			client); /* would a write be queued? then want_write() was called, and fanout_writable() comes */
	/* Some events, JSON each, up to position; of: the subscription whose past they are, or NULL for live ones. */
	void (*events)(Client *client, Subscription *of, const Slice *events, int n, int64_t position);
	void (*caught_up)(Client *client, Subscription *of);
	/* Something that it could have wanted was removed behind its position. The subscription has ended. */
	void (*gone)(Client *client, Subscription *of, int64_t oldest);
} Transport;

struct Client
{
	Client *previous, *next;
	const Transport *transport;
	Identity *identity;
	Subscription *subscriptions;
	int nsubscriptions, nlive;
	int64_t position; /* everything live up to here was handed over */
	bool behind; /* further than the events in memory go */
	bool reading;
	int pages; /* on their way, also for subscriptions that have ended */
	bool ended; /* while a page is on its way: freed when the last has come */
	void (*freed)(Client *client);
	Subscription lag; /* stands for all live subscriptions while the client is behind */
};

extern void fanout_start(void);
extern bool fanout_ready(void); /* the end of the log is known */
extern int64_t fanout_position(void);

/* The transport sets transport, identity and freed. */
extern void client_begin(Client *client);
extern void client_end(Client *client); /* freed() is called, now or when a page has come */

/*
 * The filter is copied.  after: -1 from now on; else a position: then its past begins to come when
 * subscription_start() is called.
 */
extern Subscription *subscription_make(Client *client, Slice id, const EventFilter *filter);
extern void subscription_start(Subscription *subscription, int64_t after);
extern bool
subscription_is_past(const Subscription *subscription, int64_t after); /* then caught_up() comes */
extern Subscription *subscription_find(Client *client, Slice id);
extern void subscription_end(Subscription *subscription);

extern void fanout_writable(Client *client);

typedef struct FanoutCounts
{
	int clients, subscriptions, behind;
	int64_t events, frames, pages, gone,
		resumed; /* resumed: subscriptions that began in the past */
	int64_t rounds; /* of handing over what the tail has brought */
	double seconds; /* that they took */
	int64_t memory_bytes;
} FanoutCounts;
extern FanoutCounts fanout_counts(void);

#endif /* USHERD_FANOUT_H */
