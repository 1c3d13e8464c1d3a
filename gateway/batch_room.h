/*
 * gateway/batch_room.h
 *	  What the files of coalescing share: elements and the groups in which they travel.
 *
 * batch.c has the queue and what leaves when, batch_keys.c who holds which
 * idempotency key, batch_suspects.c who travels alone, batch_results.c what becomes
 * of a group; batch_message.c writes a group as the parameter of usher.append_requests and
 * reads its results.
 */
#ifndef USHERD_BATCH_ROOM_H
#define USHERD_BATCH_ROOM_H

#include <libpq-fe.h>

#include "batch.h"
#include "db.h"
#include "lib/pgbinary.h"
#include "lib/turns.h"

/* A request until its done(). */
typedef struct Element
{
	Turn turn;
	struct Element *next; /* of those who come later, who wait for a key, or who have to leave */
	AppendRequest request;
	size_t bytes;
	/* Its idempotency key is held from when it leaves the queue; others with that key wait with the holder. */
	bool holds_key;
	uint64_t key_hash;
	struct Element *key_chain;
	struct Element *waiting_first, *waiting_last;
	double try_at, deadline; /* of those who come later; deadline 0: the first try */
	AppendOutcome overdue; /* what is said when the deadline is over */
	bool invalid; /* there is text in it that no database takes */
	bool lost; /* sent, and the connection ended: nobody knows */
} Element;

/* What travels, or will, as one call. */
typedef struct Group
{
	struct Group *next;
	double since;
	bool alone; /* one element, apart from the others because it may raise an error */
	Text parameter;
	bool range_known;
	int64_t first, last; /* positions of what it wrote */
	int n;
	Element *elements[];
} Group;

/* batch.c */
extern void element_end(Element *element, const AppendResult *result);
extern void element_end_as(Element *element, AppendOutcome outcome);
/* Once more after so long, until its deadline; then it is overdue. */
extern void element_try_later(Element *element, double seconds, AppendOutcome overdue);
extern Group *group_new(int room);
extern void group_free(Group *group); /* its elements belong to somebody else by now */
extern void group_ready(Group *group, bool in_front);
extern void group_ready_alone(Element *element);
extern void group_end_as(Group *group, AppendOutcome outcome);

/* batch_suspects.c */
extern bool suspect_is(const AppendRequest *request); /* likely to raise an error, or to wait */
extern void suspect_raised(const AppendRequest *request); /* a type of it, probably */
extern void suspect_locked(const AppendRequest *request); /* a stream of it was */
extern void suspect_fine(const AppendRequest *request);

/* batch_keys.c */
extern uint64_t hash_bytes(uint64_t hash, const char *data, size_t len);
extern uint64_t key_hash_of(const AppendRequest *request);
/* false: another one has it, and the element waits with that one. */
extern bool key_hold(Element *element);
/* The first of those who waited, which has the key from now on; or NULL. */
extern Element *key_release(Element *element);

/* batch_results.c */
extern void group_take_outcome(Group *group, DbOutcome outcome, const PGresult *result);
extern void group_take_range(void *context, PGresult *result);

/* batch_message.c */
/* false: there is text in it that no database would take. */
extern bool message_valid(const AppendRequest *request);
extern size_t message_bytes(const AppendRequest *request);
extern void
message_write(Text *text, const Group *group, Oid request_type, Oid event_type, Oid events_type);

/* One row of the results. */
typedef struct MessageRow
{
	int element;
	bool refused;
	AppendResult result; /* without its events */
	BinaryItems ids, versions, positions, ordinals;
	bool has_positions, has_ordinals;
} MessageRow;

/* false: it is none. */
extern bool message_read(const PGresult *result, int at, MessageRow *row);
/* The events of a row that was not refused, as many as were given; false: they do not fit. */
extern bool message_read_events(MessageRow *row, const Group *group, int n, AppendedEvent *events);

#endif /* USHERD_BATCH_ROOM_H */
