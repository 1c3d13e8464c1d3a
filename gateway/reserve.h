/*
 * gateway/reserve.h
 *	  Coalescing of reservations: those that come while a call is in flight
 *	  travel together, as one call of boxoffice.reserve_many and one commit.
 *
 * A tenant's reservations, and so all of one event, go through one connection,
 * one call after the other in the order in which they came: two calls never wait
 * for the same users and seats.  A group leaves from reserve_flush(), which the loop calls at the end
 * of each round.  Every reservation ends in exactly one call of done(), after
 * the Sync's result; never from within reserve_add().
 */
#ifndef USHERD_RESERVE_H
#define USHERD_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/text.h"
#include "lib/turns.h"

typedef struct ReserveItem
{
	int64_t zone;
	int64_t price_type; /* 0: the zone's first */
	int64_t quantity;
	const Slice *seats; /* NULL: none are named */
	int nseats;
	bool accessible, split; /* of seats that are not named */
} ReserveItem;

typedef enum ReserveOutcome
{
	RESERVE_DONE, /* committed; or a repeat of what was: replayed */
	RESERVE_REFUSED, /* nothing was written: sqlstate ... */
	RESERVE_UNKNOWN, /* the connection ended before the commit was confirmed */
	RESERVE_UNAVAILABLE, /* nothing was sent: too much to do, or no database */
} ReserveOutcome;

/* What is absent or not said: data == NULL, "", -1. */
typedef struct ReserveResult
{
	ReserveOutcome outcome;
	bool replayed;
	Slice booking; /* a JSON object without the code */
	Slice id; /* 16 bytes */
	Slice code;
	int64_t position; /* of the call's last event */
	char sqlstate[6];
	const char *message, *detail;
	bool retryable;
	int64_t remaining;
	Slice seats; /* a text[] in PostgreSQL's binary format */
} ReserveResult;

/* Everything it points to, and itself, must live until done(). */
typedef struct Reservation
{
	Turn turn;
	const char *tenant;
	Slice user;
	int64_t show;
	const ReserveItem *items;
	int nitems;
	Slice key; /* idempotency; absent: none */
	int64_t ttl_seconds; /* 0: what is usual */
	Slice metadata; /* of the event, JSON; absent: none */
	Slice token; /* for usher.before_reserve; absent: none */
	void (*done)(struct Reservation *reservation, const ReserveResult *result);
	void *context;
	bool lost; /* reserve.c's: it was sent, and nobody knows what became of it */
} Reservation;

/* false: the queue is full (or the tenant's part of it), or there is no database; done() is not called. */
extern bool reserve_add(Reservation *reservation);
extern void reserve_flush(void);
extern bool reserve_busy(void); /* something is queued or in flight */

#endif /* USHERD_RESERVE_H */
