/*
 * gateway/batch.c
 *	  Coalescing: the queue of appends, what leaves when, and what becomes of it.
 *
 * An element waits in the queue, its tenant's turn by turn, travels in a group,
 * and ends by done().  A group that raised an error wrote nothing: the element
 * that the error names travels alone from then on and the others once more; if
 * it names none, the group is halved.  A group whose connection ended may have
 * been written: what can be recognised as a repeat (an idempotency key, or ids
 * of all events) is sent once more, the rest is unknown.
 *
 * Two elements with one key (tenant, user, key) never travel at the same time:
 * the first to leave the queue holds the key, the others wait with it.
 */
#include <stdlib.h>
#include <string.h>

#include "batch_room.h"
#include "config.h"
#include "db.h"
#include "journal.h"

#define RETRY_SECONDS_MAX 5.0
#define PATIENCE_SECONDS  0.02
/* All of a batch wait for all of it; so batches are smaller while several tenants are there. */
#define MIXED_REQUESTS_MAX  64 /* of several tenants */
#define SINGLE_REQUESTS_MAX 32 /* of one tenant, when another was there lately */
#define UNEQUAL_REQUESTS_MIN \
	16 /* and only then the rest of the one who wants more than the others */
#define MIXED_SECONDS 1.0

static const DbStatement append_statement = {
	"append_requests",
	"SELECT element, sqlstate, message, detail, hint, event_index, actual_version, replayed,"
	" ids, versions, positions, ordinals FROM usher.append_requests($1)",
	1,
	true,
};
static const DbStatement range_statement = {
	"committed_range",
	"SELECT first, last FROM usher.committed_range()",
	0,
	true,
};

typedef struct ElementList
{
	Element *first, *last;
} ElementList;

typedef struct GroupList
{
	Group *first, *last;
} GroupList;

static Turns queue;
static ElementList leaving; /* refused, as the next batch_flush() says */
static ElementList later; /* each at its time */
static GroupList crowds; /* ready to leave, before the queue */
static GroupList singles; /* in turn with the others */
static bool single_turn;
static int in_flight, crowds_in_flight; /* groups, and those of more than one who is apart */
static double sent_at; /* when the last crowd left */
static bool flushing;

static void
list_add(ElementList *list, Element *element)
{
	element->next = NULL;
	*(list->last != NULL ? &list->last->next : &list->first) = element;
	list->last = element;
}

static Element *
list_take(ElementList *list)
{
	Element *element = list->first;

	if (element != NULL && (list->first = element->next) == NULL)
		list->last = NULL;
	return element;
}

/* ---- ends ---- */

void
element_end(Element *element, const AppendResult *result)
{
	Element *next = key_release(element);

	if (next != NULL)
	{
		next->deadline = next->turn.since + RETRY_SECONDS_MAX;
		list_add(&later, next);
	}
	element->request.done(element->request.context, result);
	free(element);
}

void
element_end_as(Element *element, AppendOutcome outcome)
{
	AppendResult result = {.outcome = outcome,
						   .message = "",
						   .detail = "",
						   .hint = "",
						   .event_index = -1,
						   .actual_version = -1};

	element_end(element, &result);
}

static void
element_end_invalid(Element *element)
{
	AppendResult result = {.outcome = APPEND_REFUSED,
						   .sqlstate = "22021",
						   .message = "invalid byte sequence for encoding \"UTF8\"",
						   .detail = "",
						   .hint = "",
						   .event_index = -1,
						   .actual_version = -1};

	element_end(element, &result);
}

/* ---- groups ---- */

Group *
group_new(int room)
{
	Group *group = calloc(1, sizeof(*group) + (size_t) room * sizeof(group->elements[0]));

	if (group == NULL)
		abort();
	group->since = db_now();
	return group;
}

/* Its elements belong to somebody else by now. */
void
group_free(Group *group)
{
	text_free(&group->parameter);
	free(group);
}

void
group_ready(Group *group, bool in_front)
{
	GroupList *list = group->alone ? &singles : &crowds;

	if (group->n == 0)
	{
		group_free(group);
		return;
	}
	group->next = in_front ? list->first : NULL;
	if (in_front)
		list->first = group;
	else
		*(list->last != NULL ? &list->last->next : &list->first) = group;
	if (group->next == NULL)
		list->last = group;
}

void
group_ready_alone(Element *element)
{
	Group *group = group_new(1);

	group->alone = true;
	group->elements[group->n++] = element;
	group_ready(group, false);
}

/* All of it; whose outcome nobody knows ends so. */
void
group_end_as(Group *group, AppendOutcome outcome)
{
	for (int i = 0; i < group->n; i++)
		element_end_as(group->elements[i], group->elements[i]->lost ? APPEND_UNKNOWN : outcome);
	group_free(group);
}

static Group *
group_take(GroupList *list)
{
	Group *group = list->first;

	if (group != NULL && (list->first = group->next) == NULL)
		list->last = NULL;
	return group;
}

static int
smaller(int a, int b)
{
	return a < b ? a : b;
}

/* In turn, as many as a batch holds; NULL: nobody can go. */
static Group *
group_from_queue(void)
{
	static double mixed_at = -MIXED_SECONDS;
	bool mixed = queue.ntenants > 1;
	bool lately = db_now() - mixed_at < MIXED_SECONDS;
	int room = smaller(config.batch_requests_max, mixed    ? MIXED_REQUESTS_MAX
												  : lately ? SINGLE_REQUESTS_MAX
														   : config.batch_requests_max);
	Group *group = NULL;
	size_t bytes = 0;
	int events = 0;
	Element *element;

	if (mixed)
		mixed_at = db_now();
	while ((group == NULL || group->n < room) &&
		   !(mixed && queue.ntenants == 1 && group != NULL && group->n >= UNEQUAL_REQUESTS_MIN) &&
		   (element = (Element *) turns_take(&queue)) != NULL)
	{
		bool first = group == NULL;

		if (!first && (events + element->request.nevents > config.batch_events_max ||
					   bytes + element->bytes > (size_t) config.batch_bytes_max))
		{
			turns_put_back(&queue, &element->turn, element->request.tenant);
			break;
		}
		if (!message_valid(&element->request))
		{
			element->invalid = true;
			list_add(&leaving, element);
			continue;
		}
		if (!key_hold(element))
			continue;
		if (suspect_is(&element->request))
		{
			group_ready_alone(element);
			continue;
		}
		if (first)
			group = group_new(room);
		group->elements[group->n++] = element;
		events += element->request.nevents;
		bytes += element->bytes;
	}
	return group;
}

/* Those whose time has come travel in groups of their own; those whose time is over do not. */
static void
later_look(void)
{
	ElementList list = later;
	double now = db_now();
	Group *group = NULL;
	Element *element;

	later = (ElementList){NULL, NULL};
	while ((element = list_take(&list)) != NULL)
	{
		if (element->deadline > 0 && now > element->deadline)
		{
			list_add(&leaving, element);
			continue;
		}
		if (element->try_at > now)
		{
			list_add(&later, element);
			continue;
		}
		if (suspect_is(&element->request))
		{
			group_ready_alone(element);
			continue;
		}
		if (group != NULL && group->n == config.batch_requests_max)
		{
			group_ready(group, false);
			group = NULL;
		}
		if (group == NULL)
			group = group_new(config.batch_requests_max);
		group->elements[group->n++] = element;
	}
	if (group != NULL)
		group_ready(group, false);
}

/* Who is refused without a call; whoever is added by then waits for the next round. */
static void
leave(void)
{
	ElementList list = leaving;
	Element *element;

	leaving = (ElementList){NULL, NULL};
	while ((element = list_take(&list)) != NULL)
	{
		if (element->invalid)
			element_end_invalid(element);
		else
			element_end_as(element, element->lost ? APPEND_UNKNOWN : element->overdue);
	}
}

/* What has waited too long while there was no connection. */
static void
expire(void)
{
	double now = db_now();
	Element *element;

	while (queue.oldest != NULL && now - queue.oldest->since > config.queue_age_seconds)
	{
		element = (Element *) queue.oldest;
		turns_remove(&queue, &element->turn);
		list_add(&leaving, element);
	}
	while (crowds.first != NULL && now - crowds.first->since > RETRY_SECONDS_MAX)
		group_end_as(group_take(&crowds), APPEND_UNAVAILABLE);
	while (singles.first != NULL && now - singles.first->since > RETRY_SECONDS_MAX)
		group_end_as(group_take(&singles), APPEND_UNAVAILABLE);
}

/* The connection is free again: when all went well, the next group leaves before replies are written. */
static void
on_done(void *context, DbOutcome outcome, PGresult *result)
{
	in_flight--;
	crowds_in_flight -= !((Group *) context)->alone;
	if (outcome == DB_DONE)
		batch_flush();
	group_take_outcome(context, outcome, result);
	if (outcome == DB_REFUSED)
		batch_flush();
}

static void
group_send(Group *group)
{
	DbCall call = {.statement = &append_statement,
				   .tenant = "",
				   .done = on_done,
				   .context = group,
				   .then = &range_statement,
				   .then_done = group_take_range};

	group->parameter.len = 0;
	message_write(&group->parameter, group, db_type("usher.append_request"),
				  db_type("usher.request_event"), db_type("usher.request_event[]"));
	call.values[0] = group->parameter.data;
	call.lengths[0] = (int) group->parameter.len;
	call.formats[0] = 1;
	in_flight++;
	if (!group->alone)
	{
		crowds_in_flight++;
		sent_at = db_now();
	}
	single_turn = !group->alone;
	db_submit(LANE_WRITE, &call);
}

void
element_try_later(Element *element, double seconds, AppendOutcome overdue)
{
	if (element->deadline <= 0)
		element->deadline = db_now() + RETRY_SECONDS_MAX;
	element->overdue = overdue;
	element->try_at = db_now() + seconds;
	list_add(&later, element);
}

/*
 * One group of everybody costs one commit; two groups at a time, each of half of them, cost two.  So a second one
 * leaves only if it is full, or if the one in flight takes long (it waits for a lock, perhaps).
 */
static bool
is_time(void)
{
	return crowds_in_flight == 0 || queue.count >= (size_t) config.batch_requests_max ||
		   db_now() - sent_at > PATIENCE_SECONDS;
}

/* Those who are alone may wait for a lock: one connection stays for the others, if there are several. */
static bool
single_may_go(void)
{
	int most = config.write_connections > 1 ? config.write_connections - 1 : 1;

	return in_flight - crowds_in_flight < most;
}

/* Crowds and singles in turn, as far as there are both. */
static Group *
group_next(void)
{
	Group *group = single_turn && single_may_go() ? group_take(&singles) : NULL;

	if (group == NULL)
		group = group_take(&crowds);
	if (group == NULL && is_time())
		group = group_from_queue();
	return group != NULL || !single_may_go() ? group : group_take(&singles);
}

void
batch_flush(void)
{
	if (flushing)
		return;
	flushing = true;
	expire();
	if (later.first != NULL)
		later_look();
	while (db_free(LANE_WRITE) > 0)
	{
		Group *group = group_next();

		if (group == NULL)
			break;
		group_send(group);
	}
	leave();
	flushing = false;
}

/* ---- requests ---- */

bool
batch_add(const AppendRequest *request)
{
	Element *element;
	Turn *left = NULL;

	queue.max = (size_t) config.queue_max;
	if (db_away(LANE_WRITE))
		return false;
	element = calloc(1, sizeof(*element));
	if (element == NULL)
		abort();
	element->request = *request;
	element->overdue = APPEND_UNAVAILABLE;
	element->bytes = message_bytes(request);
	if (request->idempotency_key.data != NULL)
		element->key_hash = key_hash_of(request);
	if (!turns_add(&queue, &element->turn, request->tenant, db_now(), &left))
	{
		free(element);
		return false;
	}
	if (left != NULL)
		list_add(&leaving, (Element *) left);
	return true;
}

bool
batch_busy(void)
{
	return queue.count > 0 || in_flight > 0 || crowds.first != NULL || singles.first != NULL ||
		   later.first != NULL || leaving.first != NULL;
}

void
batch_stop(void)
{
	Element *element;
	Group *group;

	/* who waits for a key comes later when its holder ends */
	while ((element = (Element *) turns_take(&queue)) != NULL ||
		   (element = list_take(&leaving)) != NULL || (element = list_take(&later)) != NULL)
		element_end_as(element, element->lost ? APPEND_UNKNOWN : APPEND_UNAVAILABLE);
	while ((group = group_take(&crowds)) != NULL || (group = group_take(&singles)) != NULL)
		group_end_as(group, APPEND_UNAVAILABLE);
	turns_free(&queue);
	if (later.first != NULL)
		batch_stop();
}
