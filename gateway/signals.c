/*
 * gateway/signals.c
 *	  Signals of the database: sent together, read once for everybody here.
 *
 *		signals_send() ─► queue ─► usher.gateway_signal() ─► ring of the database
 *		callback ◄─ usher.gateway_signals(after) ◄─ the tail says that there are some
 *
 * What waits to be sent stands in a queue for each tenant, and they are served in
 * turn.  One call of each kind is in flight at a time.  What cannot be sent or
 * read is gone: nobody is told, and counts say how many.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "journal.h"
#include "lib/siphash.h"
#include "signals.h"
#include "tail.h"
#include "usherd.h"

#define QUEUE_MAX    10000 /* signals */
#define QUEUE_BYTES  (4 * 1024 * 1024)
#define QUEUES       256 /* buckets: a power of two */
#define BATCH_MAX    500
#define READ_MAX     "1000"
#define LOOK_SECONDS 5 /* is it a standby still? */

typedef struct Sending
{
	struct Sending *next;
	char *topic, *data, *sender; /* behind it */
	size_t bytes;
} Sending;

/* What waits of a tenant, while something does: they are served in turn. */
typedef struct Queue
{
	struct Queue *next; /* its turn comes behind this one's */
	struct Queue *same_bucket;
	Sending *first, **end;
	int n;
	size_t bytes;
	char *tenant; /* behind it */
} Queue;

enum
{
	TENANT,
	TOPIC,
	DATA,
	SENDER,
	ARRAYS
};

static struct
{
	Queue *first, **end;
	Queue *buckets[QUEUES];
	int queued;
	size_t bytes;
	bool sending, reading, again;
	bool offered, heard;
	bool known; /* else after says nothing: begin with what comes now */
	int64_t after;
	char after_text[24];
	Text arrays[ARRAYS]; /* of the call in flight */
	int in_flight;
	ev_timer look;
	void (*callback)(const Signal *signal);
	SignalCounts counts;
} signals;

static const DbStatement send_statement = {
	.name = "send_signals",
	.sql = "SELECT count(usher.gateway_signal(t, o, d, s))"
		   " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (t, o, d, s)",
	.nparams = 4,
};

static const DbStatement read_statement = {
	.name = "read_signals",
	.sql =
		"SELECT pg_is_in_recovery(), next, lost, tenant, topic, data, sender FROM usher.gateway_signals($1, " READ_MAX
		")",
	.nparams = 1,
};

static void read_signals(void);
static void send_queue(void);

/*
 * Sending
 */

static void
add_element(Text *array, const char *text)
{
	text_char(array, array->len == 0 ? '{' : ',');
	text_char(array, '"');
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			text_char(array, '\\');
		text_char(array, *text);
	}
	text_char(array, '"');
}

static void
sent(void *context, DbOutcome outcome, PGresult *result)
{
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	(void) context;
	signals.sending = false;
	if (outcome == DB_DONE)
		signals.counts.sent += strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	else
	{
		signals.counts.dropped += signals.in_flight;
		if (sqlstate && strcmp(sqlstate, "25006") == 0)
			signals.offered = false;
		else if (sqlstate)
			journal(JOURNAL_WARNING, "signals could not be sent: %s: %s", sqlstate,
					PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	}
	send_queue();
}

static Queue **
queue_place(const char *tenant)
{
	static const SipKey key;
	Queue **at = &signals.buckets[siphash(key, tenant, strlen(tenant)) & (QUEUES - 1)];

	while (*at && strcmp((*at)->tenant, tenant) != 0)
		at = &(*at)->same_bucket;
	return at;
}

static void
queue_wait(Queue *queue)
{
	queue->next = NULL;
	*signals.end = queue;
	signals.end = &queue->next;
}

static Queue *
queue_make(Queue **place, const char *tenant)
{
	Queue *queue = calloc(1, sizeof(Queue) + strlen(tenant) + 1);

	if (queue == NULL)
		abort();
	queue->tenant = strcpy((char *) (queue + 1), tenant);
	queue->end = &queue->first;
	*place = queue;
	queue_wait(queue);
	return queue;
}

/* The first of whose turn it is goes into the arrays. */
static void
send_next(void)
{
	Queue *queue = signals.first;
	Sending *first = queue->first;

	add_element(&signals.arrays[TENANT], queue->tenant);
	add_element(&signals.arrays[TOPIC], first->topic);
	add_element(&signals.arrays[DATA], first->data);
	add_element(&signals.arrays[SENDER], first->sender);
	signals.queued--;
	signals.bytes -= first->bytes;
	signals.in_flight++;
	signals.first = queue->next;
	if (signals.first == NULL)
		signals.end = &signals.first;
	queue->n--;
	queue->bytes -= first->bytes;
	queue->first = first->next;
	free(first);
	if (queue->first)
		queue_wait(queue);
	else
	{
		*queue_place(queue->tenant) = queue->same_bucket;
		free(queue);
	}
}

static void
send_queue(void)
{
	DbCall call = {.statement = &send_statement, .tenant = "", .done = sent};

	if (signals.sending || signals.first == NULL)
		return;
	signals.in_flight = 0;
	for (int i = 0; i < ARRAYS; i++)
		signals.arrays[i].len = 0;
	while (signals.first && signals.in_flight < BATCH_MAX)
		send_next();
	for (int i = 0; i < ARRAYS; i++)
	{
		text_char(&signals.arrays[i], '}');
		call.values[i] = signals.arrays[i].data;
	}
	signals.sending = true;
	db_submit(LANE_READ, &call);
}

static char *
put(char **at, const char *data, size_t len)
{
	char *text = *at;

	memcpy(text, data, len);
	text[len] = '\0';
	*at += len + 1;
	return text;
}

bool
signals_send(const char *tenant, Slice topic, Slice data, const char *sender)
{
	size_t bytes = sizeof(Sending) + topic.len + data.len + strlen(sender) + 3;
	Queue **place = queue_place(tenant), *queue = *place;
	Sending *sending;
	char *at;

	/* A tenant has no more than is left for the others, so something always is. */
	if (!signals.offered || signals.queued + (queue ? queue->n : 0) >= QUEUE_MAX ||
		signals.bytes + bytes + (queue ? queue->bytes : 0) > QUEUE_BYTES)
	{
		signals.counts.dropped++;
		return false;
	}
	sending = malloc(bytes);
	if (sending == NULL)
		abort();
	at = (char *) (sending + 1);
	*sending = (Sending){.bytes = bytes};
	sending->topic = put(&at, topic.data, topic.len);
	sending->data = put(&at, data.data, data.len);
	sending->sender = put(&at, sender, strlen(sender));
	if (queue == NULL)
		queue = queue_make(place, tenant);
	*queue->end = sending;
	queue->end = &sending->next;
	queue->n++;
	queue->bytes += bytes;
	signals.queued++;
	signals.bytes += bytes;
	send_queue();
	return true;
}

/*
 * Reading
 */

static void
dispatch(const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		Signal signal = {
			.tenant = PQgetvalue(result, row, 3),
			.topic = PQgetvalue(result, row, 4),
			.data = {PQgetvalue(result, row, 5), (size_t) PQgetlength(result, row, 5)},
			.sender = PQgetvalue(result, row, 6),
		};

		if (PQgetisnull(result, row, 3) || PQgetisnull(result, row, 4))
			continue; /* there is none; or the tenant is no more */
		signals.counts.received++;
		if (signals.callback)
			signals.callback(&signal);
	}
}

static void
have_read(void *context, DbOutcome outcome, PGresult *result)
{
	int64_t next;

	(void) context;
	signals.reading = false;
	if (outcome != DB_DONE || PQntuples(result) == 0)
	{
		signals.offered = false; /* until it is looked again */
		return;
	}
	signals.offered = PQgetvalue(result, 0, 0)[0] == 'f';
	signals.heard = true;
	next = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
	if (signals.known)
	{
		if (!PQgetisnull(result, 0, 2))
			signals.counts.lost += strtoll(PQgetvalue(result, 0, 2), NULL, 10);
		dispatch(result);
	}
	if (PQntuples(result) >= atoi(READ_MAX))
		signals.again = true;
	signals.after = next;
	signals.known = true;
	if (signals.again)
		read_signals();
}

static void
read_signals(void)
{
	DbCall call = {.statement = &read_statement, .tenant = "", .done = have_read};

	signals.again = signals.reading;
	if (signals.reading)
		return;
	signals.reading = true;
	snprintf(signals.after_text, sizeof(signals.after_text), "%" PRId64, signals.after);
	call.values[0] = signals.known ? signals.after_text : NULL;
	db_submit(LANE_READ, &call);
}

static void
tail_signals(int64_t last)
{
	if (!signals.known || last != signals.after)
		read_signals();
}

/* A standby may have become a primary meanwhile. */
static void
look(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	read_signals();
}

void
signals_start(void)
{
	signals.end = &signals.first;
	tail_on_signals(tail_signals);
	ev_timer_init(&signals.look, look, LOOK_SECONDS, LOOK_SECONDS);
	ev_timer_start(usherd_loop, &signals.look);
	db_on_ready(read_signals);
}

void
signals_on_signal(void (*callback)(const Signal *signal))
{
	signals.callback = callback;
}

bool
signals_offered(void)
{
	return signals.offered;
}

bool
signals_heard(void)
{
	return signals.heard;
}

SignalCounts
signals_counts(void)
{
	return signals.counts;
}
