/*
 * gateway/fanout.h
 *	  The log, live, for many clients: read once, whatever their number.
 *
 * A Client is a position and what it wants; nothing is queued for it.  Who can
 * be written to gets everything behind its position at once, from the newest
 * events in memory or, when it has fallen behind them, from the database.  The
 * transport (WebSocket, server-sent events) makes frames of what it is given; one
 * frame is for all clients that want the same.
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

#include "frame.h"
#include "identity.h"
#include "lib/event_filter.h"

typedef struct Client Client;
typedef struct Subscription Subscription;
typedef struct Want Want; /* fanout_class.h */
typedef struct Class Class;
typedef struct Tenant Tenant;
typedef struct Block Block; /* fanout_block.h */

struct Subscription
{
	Subscription *next;
	Client *client;
	Want *want;
	struct Follower *followers; /* availability.h */
	int64_t position; /* of the past: everything up to here was handed over, or was not wanted */
	Block *block; /* has what comes next */
	Subscription *wait_previous, *wait_next; /* for a block */
	bool live;
	bool ahead; /* live, and begins behind the end of the log */
	bool waits;
	char id[65];
};

typedef struct Transport
{
	/* Would a write be queued?  Then want_write() was called, and fanout_writable() comes. */
	bool (*choked)(Client *client);
	/*
	 * A frame of some events, JSON each, up to position, for all clients of one class; of: the subscription
	 * whose past they are (then for all whose subscriptions have this name and filter), or NULL for live ones.
	 */
	Frame *(*frame)(const Subscription *of, const Slice *events, int n, int64_t position);
	void (*send)(Client *client, Frame *frame);
	void (*caught_up)(Client *client, Subscription *of);
	/* Something that it could have wanted was removed behind its position. The subscription has ended. */
	void (*gone)(Client *client, Subscription *of, int64_t oldest);
	/* A frame of something that is in no log, JSON. */
	Frame *(*signal)(Slice topic, Slice data);
} Transport;

struct Client
{
	Client *previous, *next;
	const Transport *transport;
	Identity *identity;
	Subscription *subscriptions;
	Tenant *tenant;
	Class *class; /* what its live subscriptions want; NULL: nothing */
	Client *class_previous, *class_next; /* of those that are current */
	Client *turn_previous, *turn_next;
	int64_t
		position; /* everything live up to here was handed over; for those that are not current */
	int nsubscriptions, nlive, nahead;
	Client *ahead_previous, *ahead_next; /* while nahead > 0 */
	bool current; /* has everything up to the fan-out's position */
	bool behind; /* further than the events in memory go */
	bool queued; /* waits for its turn */
	void (*freed)(Client *client);
	Subscription lag; /* stands for all live subscriptions while the client is behind */
};

extern void fanout_start(void);
extern bool fanout_ready(void); /* the end of the log is known */
extern int64_t fanout_position(void);

/* The transport sets transport, identity and freed. */
extern void client_begin(Client *client);
extern void client_end(Client *client); /* freed() is called */
extern int64_t
client_position(const Client *client); /* everything live up to here was handed over */

/*
 * The filter is copied.  after: -1 from now on; else a position: then its past begins to come when
 * subscription_start() is called.
 */
extern Subscription *subscription_make(Client *client, Slice id, const EventFilter *filter);
extern size_t want_bytes(const EventFilter *filter); /* that a subscription to it holds */
extern void subscription_start(Subscription *subscription, int64_t after);
extern bool
subscription_is_past(const Subscription *subscription, int64_t after); /* then caught_up() comes */
extern Subscription *subscription_find(Client *client, Slice id);
extern const EventFilter *subscription_filter(const Subscription *subscription);
extern void subscription_end(Subscription *subscription);

extern void fanout_writable(Client *client);

typedef struct FanoutCounts
{
	int clients, subscriptions, classes;
	int slow; /* clients that have not everything */
	int behind; /* of these, further than the events in memory go */
	int64_t events, frames; /* that were sent */
	int64_t made; /* frames that were made for them */
	int64_t pages, gone;
	int64_t resumed; /* subscriptions that began in the past */
	int64_t rounds; /* of handing over what the tail has brought */
	double seconds; /* that they took */
	int64_t memory_bytes;
} FanoutCounts;
extern FanoutCounts fanout_counts(void);

#endif /* USHERD_FANOUT_H */
