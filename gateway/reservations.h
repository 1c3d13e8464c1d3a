/*
 * gateway/reservations.h
 *	  Reservations, which travel together (batch.h) to boxoffice.reserve_many.
 *
 * A tenant's, and so all of one event, go through one connection, one call after
 * the other in the order in which they came: two calls never wait for the same
 * users and seats.
 */
#ifndef USHERD_RESERVATIONS_H
#define USHERD_RESERVATIONS_H

#include "batch.h"

typedef struct ReserveItem
{
	int64_t zone;
	int64_t price_type; /* 0: the zone's first */
	int64_t quantity;
	const Slice *seats; /* NULL: none are named */
	int nseats;
	bool accessible, split; /* of seats that are not named */
} ReserveItem;

/* What is absent or not said: data == NULL, -1. */
typedef struct ReserveResult
{
	BatchResult known;
	Slice booking; /* a JSON object without the code */
	Slice id; /* 16 bytes */
	Slice code;
	int64_t position; /* of the call's last event */
	bool retryable;
	int64_t remaining;
	Slice seats; /* a text[] in PostgreSQL's binary format */
} ReserveResult;

typedef struct Reservation
{
	Element element; /* the user is whom it is for */
	int64_t show;
	const ReserveItem *items;
	int nitems;
	int64_t ttl_seconds; /* 0: what is usual */
	Slice metadata; /* of the event, JSON; absent: none */
	Slice token; /* for usher.before_reserve; absent: none */
	void (*done)(struct Reservation *reservation, const ReserveResult *result);
	void *context;
} Reservation;

/* batch_add(&reserve_kind, &reservation->element); then done() is called once. */
extern BatchKind reserve_kind;

#endif /* USHERD_RESERVATIONS_H */
