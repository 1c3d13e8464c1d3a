/*
 * gateway/reserve.c
 *	  Coalescing of reservations: queues, what leaves when, and what becomes of it.
 *
 * A tenant has one slot, by its name; a slot has a queue, whose tenants are
 * served in turn, and a connection of its own.  At most two of its calls are in
 * flight there: one that is at work, and, when there is much to do, the next,
 * so that the database need not wait for usherd.  A call that raised an error
 * wrote nothing: it is halved until the one whose fault it is is alone.  A call
 * whose connection ended may have been committed: reservations with an
 * idempotency key are sent once more, of the others nobody knows.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "journal.h"
#include "lib/pgbinary.h"
#include "lib/siphash.h"
#include "reserve_room.h"

#define RETRY_SECONDS_MAX  5.0
#define BUSY_RETRY_SECONDS 0.05 /* somebody holds what it needs */
#define SLOTS_MAX          16
#define IN_FLIGHT_MAX      2
#define BEHIND_MIN         32 /* reservations that leave behind others: fewer wait for more */

typedef struct GroupList
{
	ReserveGroup *first, *last;
} GroupList;

typedef struct Slot
{
	Turns queue;
	GroupList ready; /* in front of the queue: halves, and what is tried again */
	int in_flight; /* groups */
	int reservations; /* in them */
} Slot;

static const DbStatement reserve_statement = {"reserve_many", reserve_sql, 2, true};
static const DbStatement range_statement = {
	"reserved_range",
	"SELECT last FROM usher.committed_range()",
	0,
	true,
};

static Slot slots[SLOTS_MAX];
static Reservation *evicted; /* a list by turn.next: they end in the next reserve_flush() */

static int
nslots(void)
{
	return config.reserve_connections < SLOTS_MAX ? config.reserve_connections : SLOTS_MAX;
}

static int
slot_of(const char *tenant)
{
	SipKey key = {1, 2};

	return (int) (siphash(key, tenant, strlen(tenant)) % (uint64_t) nslots());
}

/* ---- ends ---- */

static void
end_as(Reservation *reservation, ReserveOutcome outcome)
{
	ReserveResult result = {.outcome = reservation->lost ? RESERVE_UNKNOWN : outcome,
							.position = -1,
							.remaining = -1,
							.message = "",
							.detail = ""};

	reservation->done(reservation, &result);
}

static void
end_refused(Reservation *reservation, const PGresult *error)
{
	const char *message = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
	ReserveResult result = {.outcome = RESERVE_REFUSED,
							.position = -1,
							.remaining = -1,
							.message = message ? message : "",
							.detail = detail ? detail : ""};

	memcpy(result.sqlstate, PQresultErrorField(error, PG_DIAG_SQLSTATE), 5);
	reservation->done(reservation, &result);
}

/* ---- groups ---- */

static ReserveGroup *
group_new(int slot, int room)
{
	ReserveGroup *group = calloc(1, sizeof(*group) + (size_t) room * sizeof(group->elements[0]));

	if (group == NULL)
		abort();
	group->slot = slot;
	group->since = db_now();
	group->last = -1;
	return group;
}

static void
group_free(ReserveGroup *group)
{
	text_free(&group->parameter);
	text_free(&group->tokens);
	free(group);
}

static void
group_end_refused(ReserveGroup *group, const PGresult *error)
{
	for (int i = 0; i < group->n; i++)
		if (group->elements[i]->lost)
			end_as(group->elements[i], RESERVE_UNKNOWN);
		else
			end_refused(group->elements[i], error);
	group_free(group);
}

static void
group_end_as(ReserveGroup *group, ReserveOutcome outcome)
{
	for (int i = 0; i < group->n; i++)
		end_as(group->elements[i], outcome);
	group_free(group);
}

static void
group_ready(ReserveGroup *group)
{
	GroupList *list = &slots[group->slot].ready;

	if (group->n == 0)
	{
		group_free(group);
		return;
	}
	group->next = NULL;
	*(list->last != NULL ? &list->last->next : &list->first) = group;
	list->last = group;
}

static ReserveGroup *
group_take(GroupList *list)
{
	ReserveGroup *group = list->first;

	if (group != NULL && (list->first = group->next) == NULL)
		list->last = NULL;
	return group;
}

/* Of a group that has failed: [from, to), with its age. */
static void
group_again(const ReserveGroup *group, int from, int to)
{
	ReserveGroup *again = group_new(group->slot, to - from);

	again->since = group->since;
	for (int i = from; i < to; i++)
		again->elements[again->n++] = group->elements[i];
	group_ready(again);
}

static ReserveGroup *
group_from_queue(int slot)
{
	int room = config.batch_requests_max < RESERVE_GROUP_MAX ? config.batch_requests_max
															 : RESERVE_GROUP_MAX;
	Turns *queue = &slots[slot].queue;
	ReserveGroup *group;
	Turn *turn;

	if (queue->count == 0)
		return NULL;
	group = group_new(slot, queue->count < (size_t) room ? (int) queue->count : room);
	while (group->n < room && (turn = turns_take(queue)) != NULL)
		group->elements[group->n++] = (Reservation *) turn;
	return group;
}

/* ---- what becomes of a call ---- */

static void
take_results(ReserveGroup *group, const PGresult *result)
{
	int wrong = 0;

	for (int i = 0; i < PQntuples(result); i++)
	{
		ReserveResult outcome;
		Reservation *reservation;
		int element;

		if (!reserve_message_read(result, i, group->n, &element, &outcome) ||
			group->elements[element] == NULL)
		{
			wrong++;
			continue;
		}
		reservation = group->elements[element];
		group->elements[element] = NULL;
		outcome.position = group->last;
		reservation->done(reservation, &outcome);
	}
	for (int i = 0; i < group->n; i++)
		if (group->elements[i] != NULL)
		{
			wrong++;
			group->elements[i]->lost = true;
			end_as(group->elements[i], RESERVE_UNKNOWN);
		}
	if (wrong > 0)
		journal(JOURNAL_ERROR, "results of reserve_many do not fit its %d requests", group->n);
	group_free(group);
}

static void
take_loss(ReserveGroup *group)
{
	ReserveGroup *again = group_new(group->slot, group->n);

	for (int i = 0; i < group->n; i++)
	{
		Reservation *reservation = group->elements[i];

		if (reservation->lost || reservation->key.data == NULL)
		{
			reservation->lost = true;
			end_as(reservation, RESERVE_UNKNOWN);
			continue;
		}
		reservation->lost = true;
		again->elements[again->n++] = reservation;
	}
	group_ready(again);
	group_free(group);
}

/* Nobody's fault, and over soon: serialization failures, deadlocks, what somebody holds. */
static bool
is_passing(const char *sqlstate)
{
	return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0 ||
		   strcmp(sqlstate, "55P03") == 0;
}

/* Not a request's fault: the server has no room, is read-only, or has internal trouble. */
static bool
is_servers(const char *sqlstate)
{
	return strncmp(sqlstate, "53", 2) == 0 || strncmp(sqlstate, "58", 2) == 0 ||
		   strcmp(sqlstate, "25006") == 0;
}

/* Nothing of it was written. */
static void
take_refusal(ReserveGroup *group, const PGresult *error)
{
	const char *sqlstate = PQresultErrorField(error, PG_DIAG_SQLSTATE);

	if (is_servers(sqlstate))
	{
		journal(JOURNAL_ERROR, "reservations fail: %s",
				PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY));
		group_end_refused(group, error);
		return;
	}
	if (group->n == 1 && is_passing(sqlstate))
	{
		group->try_at = db_now() + BUSY_RETRY_SECONDS;
		group_ready(group);
		return;
	}
	/* of one that was sent before nobody knows what became of it then */
	if (group->n == 1 && group->elements[0]->lost)
		end_as(group->elements[0], RESERVE_UNKNOWN);
	else if (group->n == 1)
		end_refused(group->elements[0], error);
	else
	{
		group_again(group, 0, group->n / 2);
		group_again(group, group->n / 2, group->n);
	}
	group_free(group);
}

static void
take_outcome(ReserveGroup *group, DbOutcome outcome, const PGresult *result)
{
	switch (outcome)
	{
		case DB_DONE:
			take_results(group, result);
			break;
		case DB_REFUSED:
			take_refusal(group, result);
			break;
		case DB_LOST:
			take_loss(group);
			break;
		case DB_UNSENT:
			group_ready(group);
			break;
	}
}

static void
take_range(void *context, PGresult *result)
{
	ReserveGroup *group = context;
	Slice last;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
		PQgetisnull(result, 0, 0))
		return;
	last = (Slice){PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0)};
	if (!binary_read_int64(last, &group->last))
		group->last = -1;
}

/* ---- what leaves ---- */

static bool slot_flush(int slot);

/* The connection is free again: the next group leaves before the replies of this one are written. */
static void
on_done(void *context, DbOutcome outcome, PGresult *result)
{
	ReserveGroup *group = context;

	slots[group->slot].in_flight--;
	slots[group->slot].reservations -= group->n;
	if (outcome == DB_DONE)
		(void) slot_flush(group->slot);
	take_outcome(group, outcome, result);
}

static void
group_send(ReserveGroup *group, int connection)
{
	DbCall call = {.statement = &reserve_statement,
				   .tenant = "",
				   .done = on_done,
				   .context = group,
				   .then = &range_statement,
				   .then_done = take_range};

	reserve_message_write(group);
	call.values[0] = group->parameter.data;
	call.lengths[0] = (int) group->parameter.len;
	call.formats[0] = call.formats[1] = 1;
	call.values[1] = group->has_tokens ? group->tokens.data : NULL;
	call.lengths[1] = (int) group->tokens.len;
	slots[group->slot].in_flight++;
	slots[group->slot].reservations += group->n;
	db_submit_on(LANE_RESERVE, connection, &call);
}

/* What comes again goes first, so that nobody overtakes it; a group that waits for its time lets nobody wait behind it. */
static ReserveGroup *
group_next(int slot)
{
	GroupList waiting = slots[slot].ready;
	ReserveGroup *group, *found = NULL;

	slots[slot].ready = (GroupList){NULL, NULL};
	while ((group = group_take(&waiting)) != NULL)
	{
		if (found == NULL && group->try_at <= db_now())
			found = group;
		else
			group_ready(group);
	}
	return found != NULL ? found : group_from_queue(slot);
}

/* The slot's own, or while that does not stand the next one that does; -1: it has enough to do. */
static int
slot_connection(int slot)
{
	for (int i = 0; i < nslots(); i++)
	{
		int connection = (slot + i) % nslots();
		int room = db_free_on(LANE_RESERVE, connection);

		if (room >= 0)
			return room > 0 ? connection : -1;
	}
	return -1;
}

/*
 * What comes while a call is at work travels together, the more the better.
 * But what would take the database long leaves early enough to be there when it
 * is done, if it is not much less than what is at work.
 */
static bool
slot_may_send(const Slot *slot)
{
	if (slot->in_flight == 0 || slot->in_flight >= IN_FLIGHT_MAX)
		return slot->in_flight == 0;
	return slot->queue.count >= BEHIND_MIN && (int) slot->queue.count * 2 >= slot->reservations;
}

/* true: a group has left. */
static bool
slot_flush(int slot)
{
	int connection = slot_may_send(&slots[slot]) ? slot_connection(slot) : -1;
	ReserveGroup *group = connection >= 0 ? group_next(slot) : NULL;

	if (group == NULL)
		return false;
	group_send(group, connection);
	return true;
}

/* What has waited too long. */
static void
slot_expire(Slot *slot)
{
	double now = db_now();
	GroupList waiting = slot->ready;
	ReserveGroup *group;

	slot->ready = (GroupList){NULL, NULL};
	while ((group = group_take(&waiting)) != NULL)
	{
		if (now - group->since > RETRY_SECONDS_MAX)
			group_end_as(group, RESERVE_UNAVAILABLE);
		else
			group_ready(group);
	}
	while (slot->queue.oldest != NULL && now - slot->queue.oldest->since > config.queue_age_seconds)
	{
		Reservation *oldest = (Reservation *) slot->queue.oldest;

		turns_remove(&slot->queue, &oldest->turn);
		end_as(oldest, RESERVE_UNAVAILABLE);
	}
}

void
reserve_flush(void)
{
	while (evicted != NULL)
	{
		Reservation *reservation = evicted;

		evicted = (Reservation *) reservation->turn.next;
		end_as(reservation, RESERVE_UNAVAILABLE);
	}
	for (int i = 0; i < nslots(); i++)
	{
		slot_expire(&slots[i]);
		(void) slot_flush(i);
	}
}

/* ---- reservations ---- */

bool
reserve_add(Reservation *reservation)
{
	Turns *queue = &slots[slot_of(reservation->tenant)].queue;
	Turn *left = NULL;

	queue->max = (size_t) config.queue_max;
	if (db_away(LANE_RESERVE) ||
		!turns_add(queue, &reservation->turn, reservation->tenant, db_now(), &left))
		return false;
	if (left != NULL)
	{
		left->next = (Turn *) evicted;
		evicted = (Reservation *) left;
	}
	return true;
}

bool
reserve_busy(void)
{
	bool busy = evicted != NULL;

	for (int i = 0; i < nslots(); i++)
		busy = busy || slots[i].in_flight > 0 || slots[i].queue.count > 0 ||
			   slots[i].ready.first != NULL;
	return busy;
}
