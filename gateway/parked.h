/*
 * gateway/parked.h
 *	  Requests that wait: for an event, or for the log to have come as far as they know.
 *
 * A waiting request holds no connection to the database, only a Waiter in its
 * arena.  One reader of the log (tail.h) wakes those that an event concerns.
 *
 * For events: parked_watch() first, then read, and parked_sleep() when there was
 * nothing; an event that comes between is not missed.  wake() is called once for
 * each parked_sleep(), never from within it, and may sleep again.  parked_end()
 * stands before the reply.  When the client goes while its request sleeps, the
 * request is ended here.
 */
#ifndef USHERD_PARKED_H
#define USHERD_PARKED_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "request.h"

typedef enum WaiterWake
{
	WAKE_EVENT, /* there may be something: look again */
	WAKE_TIMEOUT,
	WAKE_DRAIN, /* usherd ends: reply with what there is */
} WaiterWake;

typedef struct Waiter Waiter;
typedef struct WaiterList WaiterList;
struct Waiter
{
	/* the handler's, before parked_watch() */
	Request *request;
	const char *tenant;
	const Slice *patterns; /* of types; any of them */
	int npatterns; /* 0: every type */
	const char *topic; /* parked_poke() of it wakes, too; or NULL */
	double recheck_seconds; /* one of those of the topic wakes after so long anyway; 0: nobody */
	double deadline; /* of the loop's time */
	void (*wake)(Waiter *waiter, WaiterWake why);
	void *context;
	/* parked.c's */
	int64_t position; /* waits for the log to come here; or -1 */
	int64_t examined; /* the handler has seen what is up to here */
	int64_t
		complete_after; /* what lies behind was handed over to us; INT64_MAX: the reader has not begun */
	int64_t matched; /* position of the last event that matches; or -1 */
	bool asleep, poked;
	void *state; /* the request's, while it sleeps */
	WaiterWake why;
	ev_timer timer;
	WaiterList *list;
	Waiter *previous, *next;
};

/* false: too many wait, or usherd is draining; a reply was sent (503). */
extern bool parked_watch(Waiter *waiter);
extern void parked_sleep(Waiter *waiter, int64_t examined);
extern void parked_end(Waiter *waiter);
/* Whoever waits about this topic of a tenant looks again; or one of them, to wake the next one if it was worth it. */
extern void parked_poke(const char *tenant, const char *topic);
extern void parked_poke_one(const char *tenant, const char *topic);

/*
 * Every read may carry Usher-After: the position that its reply must have seen.  Calls go() at once, or when
 * the log has come so far; or replies: 400, or 503 not-yet after 5 seconds.
 */
extern void parked_until_readable(Request *request, void (*go)(Request *request));

extern void parked_drain(void); /* wakes all, and lets nobody wait any more */
extern int parked_count(void);

#endif /* USHERD_PARKED_H */
