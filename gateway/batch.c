/*
 * gateway/batch.c
 *	  Coalescing: queues, and what leaves when.
 *
 * A channel is a queue and its way to the database: one for all tenants of a
 * kind, or, of those that go in order, one for each connection, with the tenants
 * whose names lead there.  What comes again goes before the queue.  Who travels
 * alone is a single, all other batches are crowds.
 */
#include <stdlib.h>
#include <string.h>

#include "batch_room.h"
#include "config.h"
#include "lib/siphash.h"

#define RETRY_SECONDS_MAX 5.0
#define PATIENCE_SECONDS  0.02
#define BEHIND_MIN        32 /* elements that leave behind others: fewer wait for more */
#define MIXED_SECONDS     1.0

typedef struct ElementList
{
	Element *first, *last;
} ElementList;

typedef struct BatchList
{
	Batch *first, *last;
} BatchList;

typedef struct Channel
{
	BatchKind *kind;
	int number;
	Turns queue;
	ElementList later; /* each at its time */
	BatchList crowds; /* ready to leave, before the queue */
	BatchList singles; /* in turn with the others */
	bool single_turn;
	int in_flight, crowds_in_flight; /* batches */
	int elements_in_flight;
	double sent_at; /* when the last crowd left */
	double mixed_at; /* when several tenants were there */
} Channel;

static BatchKind *kinds; /* those that have been used */
static ElementList leaving; /* without a call, as the next batch_flush() says */

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

static int
smaller(int a, int b)
{
	return a < b ? a : b;
}

/* ---- elements ---- */

void
element_release(Element *element)
{
	Element *next = key_release(element);

	if (next == NULL)
		return;
	next->deadline = next->turn.since + RETRY_SECONDS_MAX;
	list_add(&next->channel->later, next);
}

/* Of one whose outcome nobody knows that is said, whatever came later. Refused is text that no database takes. */
void
element_end_as(Element *element, BatchOutcome outcome)
{
	BatchResult result = {.outcome = element->lost ? BATCH_UNKNOWN : outcome,
						  .message = "",
						  .detail = "",
						  .hint = ""};

	if (result.outcome == BATCH_REFUSED)
	{
		memcpy(result.sqlstate, "22021", 6);
		result.message = "invalid byte sequence for encoding \"UTF8\"";
	}
	element_release(element);
	element->kind->end(element, &result);
}

static void
element_leave(Element *element, BatchOutcome outcome)
{
	element->overdue = outcome;
	list_add(&leaving, element);
}

void
element_try_later(Element *element, double seconds, BatchOutcome overdue)
{
	if (element->deadline <= 0)
		element->deadline = db_now() + RETRY_SECONDS_MAX;
	element->overdue = overdue;
	element->try_at = db_now() + seconds;
	list_add(&element->channel->later, element);
}

/* ---- batches ---- */

static Batch *
batch_new(Channel *channel, int room)
{
	Batch *batch = calloc(1, sizeof(*batch) + (size_t) room * sizeof(batch->elements[0]));

	if (batch == NULL)
		abort();
	batch->kind = channel->kind;
	batch->channel = channel;
	batch->since = db_now();
	return batch;
}

void
batch_free(Batch *batch)
{
	for (int i = 0; i < BATCH_PARAMETERS; i++)
		text_free(&batch->parameters[i]);
	free(batch);
}

void
batch_ready(Batch *batch, bool in_front)
{
	BatchList *list = batch->alone ? &batch->channel->singles : &batch->channel->crowds;

	if (batch->n == 0)
	{
		batch_free(batch);
		return;
	}
	batch->next = in_front ? list->first : NULL;
	if (in_front)
		list->first = batch;
	else
		*(list->last != NULL ? &list->last->next : &list->first) = batch;
	if (batch->next == NULL)
		list->last = batch;
}

static Batch *
batch_take(BatchList *list)
{
	Batch *batch = list->first;

	if (batch != NULL && (list->first = batch->next) == NULL)
		list->last = NULL;
	return batch;
}

void
element_alone(Element *element)
{
	Batch *batch = batch_new(element->channel, 1);

	batch->alone = true;
	batch->elements[batch->n++] = element;
	batch_ready(batch, false);
}

void
batch_again(const Batch *batch, int from, int to, int without)
{
	Batch *again = batch_new(batch->channel, to - from);

	again->since = batch->since;
	for (int i = from; i < to; i++)
		if (i != without)
			again->elements[again->n++] = batch->elements[i];
	batch_ready(again, false);
}

/* ---- from the queue ---- */

/*
 * All of a batch wait for all of it. So where a kind wants that, batches are smaller while several tenants are there,
 * by half when that was so lately; and from a quarter of it on nothing is added of one who wants more than the others.
 */
static int
mixed_room(Channel *channel, bool mixed)
{
	int max = channel->kind->mixed_max;
	bool lately = db_now() - channel->mixed_at < MIXED_SECONDS;

	if (mixed)
		channel->mixed_at = db_now();
	return max == 0 || !(mixed || lately) ? INT32_MAX : mixed ? max : max / 2;
}

/* May it leave in a batch with others? If not, it belongs to somebody else by now. */
static bool
may_join(Element *element)
{
	if (element->kind->keys_apart && !key_hold(element))
		return false;
	if (!suspect_is(element))
		return true;
	element_alone(element);
	return false;
}

/* In turn, as many as a batch holds; NULL: nobody can go. */
static Batch *
batch_from_queue(Channel *channel)
{
	Turns *queue = &channel->queue;
	const BatchKind *kind = channel->kind;
	bool mixed = queue->ntenants > 1 && kind->mixed_max > 0;
	int most = smaller(config.batch_requests_max, kind->elements_max);
	int room = smaller(most, mixed_room(channel, mixed));
	Batch *batch = NULL;
	size_t bytes = 0;
	int events = 0;
	Element *element;

	while ((batch == NULL || batch->n < room) &&
		   !(mixed && queue->ntenants == 1 && batch != NULL && batch->n >= kind->mixed_max / 4) &&
		   (element = (Element *) turns_take(queue)) != NULL)
	{
		if (batch != NULL && (events + element->events > config.batch_events_max ||
							  bytes + element->bytes > (size_t) config.batch_bytes_max))
		{
			turns_put_back(queue, &element->turn, element->tenant);
			break;
		}
		if (!may_join(element))
			continue;
		if (batch == NULL)
			batch = batch_new(channel, smaller(room, (int) queue->count + 1));
		batch->elements[batch->n++] = element;
		events += element->events;
		bytes += element->bytes;
	}
	return batch;
}

/* Those whose time has come travel in batches of their own; those whose time is over do not. */
static void
later_look(Channel *channel)
{
	ElementList list = channel->later;
	int room = smaller(config.batch_requests_max, channel->kind->elements_max);
	double now = db_now();
	Batch *batch = NULL;
	Element *element;

	channel->later = (ElementList){NULL, NULL};
	while ((element = list_take(&list)) != NULL)
	{
		if (element->deadline > 0 && now > element->deadline)
			list_add(&leaving, element);
		else if (element->try_at > now)
			list_add(&channel->later, element);
		else if (may_join(element))
		{
			if (batch == NULL)
				batch = batch_new(channel, room);
			batch->elements[batch->n++] = element;
		}
		if (batch != NULL && (batch->n == room || list.first == NULL))
		{
			batch_ready(batch, false);
			batch = NULL;
		}
	}
}

/* What has waited too long while there was no connection. */
static void
expire(Channel *channel)
{
	double now = db_now();
	BatchList *const lists[] = {&channel->crowds, &channel->singles};
	Turn *oldest;

	while ((oldest = channel->queue.oldest) != NULL &&
		   now - oldest->since > config.queue_age_seconds)
	{
		turns_remove(&channel->queue, oldest);
		element_leave((Element *) oldest, BATCH_UNAVAILABLE);
	}
	for (int i = 0; i < 2; i++)
		while (lists[i]->first != NULL && now - lists[i]->first->since > RETRY_SECONDS_MAX)
		{
			Batch *batch = batch_take(lists[i]);

			for (int k = 0; k < batch->n; k++)
				element_leave(batch->elements[k], BATCH_UNAVAILABLE);
			batch_free(batch);
		}
}

/* ---- what leaves ---- */

/*
 * One batch of everybody costs one commit; two at a time, each of half of them, cost two. So a second one leaves
 * beside it only if it is full, or if the one in flight takes long (it waits for a lock, perhaps). Behind it on
 * its connection it leaves if it is not much less: so early that it is there when the database has done the first.
 */
static bool
is_time(const Channel *channel)
{
	size_t waiting = channel->queue.count;

	if (channel->kind->in_order)
		return channel->in_flight == 0 ||
			   (waiting >= BEHIND_MIN && (int) waiting * 2 >= channel->elements_in_flight);
	return channel->crowds_in_flight == 0 || waiting >= (size_t) config.batch_requests_max ||
		   db_now() - channel->sent_at > PATIENCE_SECONDS;
}

/* Those who are alone may wait for a lock: one connection stays for the others, if there are several. */
static bool
single_may_go(const Channel *channel)
{
	int connections = channel->kind->in_order ? 1 : db_connections(channel->kind->lane);

	return channel->in_flight - channel->crowds_in_flight < (connections > 1 ? connections - 1 : 1);
}

/* Crowds and singles in turn, as far as there are both. */
static Batch *
batch_next(Channel *channel)
{
	bool single = single_may_go(channel);
	Batch *batch = channel->single_turn && single ? batch_take(&channel->singles) : NULL;

	if (batch == NULL)
		batch = batch_take(&channel->crowds);
	if (batch == NULL && is_time(channel))
		batch = batch_from_queue(channel);
	return batch != NULL || !single ? batch : batch_take(&channel->singles);
}

/* A free one; of a channel in order its own, or while that does not stand the next one that does. -1: none. */
static int
connection_of(const Channel *channel)
{
	int n = db_connections(channel->kind->lane);

	for (int i = 0; i < n; i++)
	{
		int connection = (channel->number + i) % n;
		int room = db_free_on(channel->kind->lane, connection);

		if (room > 0)
			return connection;
		if (room == 0 && channel->kind->in_order)
			return -1;
	}
	return -1;
}

static void channel_flush(Channel *channel);

/* The connection is free again: when all went well, the next batch leaves before replies are written. */
static void
on_done(void *context, DbOutcome outcome, PGresult *result)
{
	Batch *batch = context;
	Channel *channel = batch->channel;

	channel->in_flight--;
	channel->crowds_in_flight -= !batch->alone;
	channel->elements_in_flight -= batch->n;
	if (outcome == DB_DONE)
		channel_flush(channel);
	batch_take_outcome(batch, outcome, result);
}

static void
batch_send(Batch *batch, int connection)
{
	static const DbStatement range_statement = {
		"committed_range",
		"SELECT first, last FROM usher.committed_range()",
		0,
		true,
	};
	Channel *channel = batch->channel;
	DbCall call = {.statement = &channel->kind->statement,
				   .tenant = "",
				   .done = on_done,
				   .context = batch,
				   .then = &range_statement,
				   .then_done = batch_take_range};
	size_t bytes = 0;

	for (int i = 0; i < batch->n; i++)
		bytes += batch->elements[i]->bytes;
	for (int i = 0; i < BATCH_PARAMETERS; i++)
		batch->parameters[i].len = 0;
	text_reserve(&batch->parameters[0], bytes);
	channel->kind->write(batch);
	for (int i = 0; i < BATCH_PARAMETERS; i++)
	{
		call.values[i] = batch->parameters[i].len > 0 ? batch->parameters[i].data : NULL;
		call.lengths[i] = (int) batch->parameters[i].len;
		call.formats[i] = 1;
	}
	channel->in_flight++;
	channel->crowds_in_flight += !batch->alone;
	channel->elements_in_flight += batch->n;
	if (!batch->alone)
		channel->sent_at = db_now();
	channel->single_turn = !batch->alone;
	db_submit_on(channel->kind->lane, connection, &call);
}

static void
channel_flush(Channel *channel)
{
	Batch *batch;
	int connection;

	expire(channel);
	later_look(channel);
	while ((connection = connection_of(channel)) >= 0 && (batch = batch_next(channel)) != NULL)
		batch_send(batch, connection);
}

void
batch_flush(void)
{
	ElementList list;
	Element *element;

	for (BatchKind *kind = kinds; kind != NULL; kind = kind->next)
		for (int i = 0; i < kind->nchannels; i++)
			channel_flush(&kind->channels[i]);
	/* whoever is added by an end waits for the next round */
	list = leaving;
	leaving = (ElementList){NULL, NULL};
	while ((element = list_take(&list)) != NULL)
		element_end_as(element, element->overdue);
}

/* ---- who comes ---- */

static Channel *
channel_of(BatchKind *kind, const char *tenant)
{
	static const SipKey key = {1, 2};

	if (kind->channels == NULL)
	{
		kind->nchannels = kind->in_order ? db_connections(kind->lane) : 1;
		kind->channels = calloc((size_t) kind->nchannels, sizeof(Channel));
		if (kind->channels == NULL)
			abort();
		for (int i = 0; i < kind->nchannels; i++)
			kind->channels[i] = (Channel){.kind = kind, .number = i};
		kind->next = kinds;
		kinds = kind;
	}
	return &kind->channels[kind->nchannels == 1
							   ? 0
							   : siphash(key, tenant, strlen(tenant)) % (uint64_t) kind->nchannels];
}

bool
batch_add(BatchKind *kind, Element *element)
{
	Turn *left = NULL;

	if (db_away(kind->lane))
		return false;
	element->kind = kind;
	element->channel = channel_of(kind, element->tenant);
	if (!kind->measure(element))
	{
		element_leave(element, BATCH_REFUSED);
		return true;
	}
	if (kind->keys_apart && element->key.data != NULL)
		element->key_hash = key_hash_of(element);
	element->channel->queue.max = (size_t) config.queue_max;
	element->overdue = BATCH_UNAVAILABLE;
	if (!turns_add(&element->channel->queue, &element->turn, element->tenant, db_now(), &left))
		return false;
	if (left != NULL)
		list_add(&leaving, (Element *) left);
	return true;
}

bool
batch_busy(void)
{
	bool busy = leaving.first != NULL;

	for (const BatchKind *kind = kinds; kind != NULL; kind = kind->next)
		for (int i = 0; i < kind->nchannels; i++)
		{
			const Channel *channel = &kind->channels[i];

			busy = busy || channel->in_flight > 0 || channel->queue.count > 0 ||
				   channel->later.first != NULL || channel->crowds.first != NULL ||
				   channel->singles.first != NULL;
		}
	return busy;
}
