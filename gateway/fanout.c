/*
 * gateway/fanout.c
 *	  The log, live, for many clients.
 *
 * The newest events stand in a ring as JSON, made once each.  When the tail of
 * the log moves, each client that can be written to gets what lies behind its
 * position, matched and written for it alone.
 *
 * Pages of the past are read four at a time, in turn.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "db.h"
#include "fanout.h"
#include "fanout_ring.h"
#include "handlers/handlers.h"
#include "journal.h"
#include "tail.h"
#include "usherd.h"

#define GATHER_EVENTS 512 /* of one frame */
#define GATHER_BYTES  65536
#define READERS       4
#define PAGE_EVENTS   "500"
#define PAGE_SCAN     "20000"
#define RETRY_SECONDS 0.5

static struct
{
	int64_t position; /* everything up to here was handed over by the tail */
	bool known;
	Client *clients;
	TailListener tail;
	int reading;
	Subscription *queue, **queue_end;
	FanoutCounts counts;
} fanout;

static void pump(Client *client);
static void ask(Subscription *subscription);

/*
 * What a client gets
 */

static bool
client_wants(const Client *client, const Subscription *of, const RingEvent *event)
{
	if (strcmp(client->identity->tenant, event->tenant) != 0)
		return false;
	if (of)
		return filter_wants(&of->filter, &event->event);
	for (const Subscription *s = client->subscriptions; s; s = s->next)
		if (s->live && event->position > s->position && filter_wants(&s->filter, &event->event))
			return true;
	return false;
}

/*
 * Hands over what the ring has behind *position, in frames.  until: the position to stop at.
 * false: the client cannot take more now.
 */
static bool
send_ring(Client *client, Subscription *of, int64_t *position, int64_t until)
{
	static Slice events[GATHER_EVENTS];
	uint64_t at = ring_find(*position), end = ring_end();

	while (*position < until)
	{
		size_t bytes = 0;
		int n = 0;

		if (client->transport->choked(client))
			return false;
		while (at < end && ring_event(at)->position <= until && n < GATHER_EVENTS &&
			   bytes < GATHER_BYTES)
		{
			const RingEvent *event = ring_event(at++);

			*position = event->position;
			if (!client_wants(client, of, event))
				continue;
			events[n++] = event->event.json;
			bytes += event->event.json.len;
		}
		if (at == end || ring_event(at)->position > until)
			*position = until;
		if (n > 0)
		{
			fanout.counts.frames++;
			fanout.counts.events += n;
			client->transport->events(client, of, events, n, *position);
			if (client->ended)
				return false;
		}
	}
	return true;
}

static void
become_live(Subscription *s)
{
	s->live = true;
	s->client->nlive++;
	s->client->transport->caught_up(s->client, s);
}

/* A subscription in the past goes on: by the ring when that reaches back so far, else by a page. */
static void
go_on(Subscription *s)
{
	if (s->reading || s->live)
		return;
	if (s->position < ring_floor())
	{
		ask(s);
		return;
	}
	if (s->position < s->client->position &&
		!send_ring(s->client, s, &s->position, s->client->position))
		return;
	if (!s->client->ended)
		become_live(s);
}

static void
pump(Client *client)
{
	if (!fanout.known || client->ended)
		return;
	if (client->nlive == 0)
	{
		client->position = fanout.position; /* nobody wants what lies between */
		fanout.counts.behind -= client->behind;
		client->behind = false;
	}
	else if (client->position < ring_floor())
	{
		if (!client->behind)
			fanout.counts.behind++;
		client->behind = true;
		client->lag.position = client->position;
		ask(&client->lag);
	}
	else if (!client->lag.reading)
	{
		if (client->behind)
			fanout.counts.behind--;
		client->behind = false;
		if (!send_ring(client, NULL, &client->position, fanout.position))
			return;
	}
	for (Subscription *s = client->subscriptions, *next; s && !client->ended; s = next)
	{
		next = s->next;
		go_on(s);
	}
}

void
fanout_writable(Client *client)
{
	pump(client);
}

/*
 * Pages of the past: all of the tenant's events, because what a subscription wants is decided here
 * (a pattern may be of the topic)
 */

typedef struct Page
{
	Subscription *subscription;
	Identity *identity; /* the call has its tenant; a newer token may come meanwhile */
	char after[24];
} Page;

static const DbStatement page_statement = {
	.name = "fanout_page",
	.sql =
		"SELECT next, position, stream, version, id, type, topic, key, data, metadata, recorded_at"
		" FROM usher.gateway_read_log($1, $2, " PAGE_EVENTS ", NULL, " PAGE_SCAN ")",
	.nparams = 2,
};

static void page_read(void *context, DbOutcome outcome, PGresult *result);

static void
submit(Subscription *s)
{
	Page *page = calloc(1, sizeof(Page));
	const char *tenant = s->client->identity->tenant;
	DbCall call = {
		.statement = &page_statement, .done = page_read, .context = page, .tenant = tenant};

	if (page == NULL)
		abort();
	page->subscription = s;
	page->identity = identity_keep(s->client->identity);
	s->client->pages++;
	snprintf(page->after, sizeof(page->after), "%" PRId64, s->position);
	call.values[0] = tenant;
	call.values[1] = page->after;
	fanout.reading++;
	fanout.counts.pages++;
	db_submit(LANE_READ, &call);
}

static void
ask(Subscription *s)
{
	if (s->reading || s->client->transport->choked(s->client))
		return;
	s->reading = true;
	if (fanout.reading < READERS)
	{
		submit(s);
		return;
	}
	s->waiting = NULL;
	*fanout.queue_end = s;
	fanout.queue_end = &s->waiting;
}

static void
next_reader(void)
{
	while (fanout.reading < READERS && fanout.queue)
	{
		Subscription *s = fanout.queue;

		fanout.queue = s->waiting;
		if (fanout.queue == NULL)
			fanout.queue_end = &fanout.queue;
		submit(s);
	}
}

static Slice
field(const PGresult *result, int row, int column)
{
	return (Slice){PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)};
}

/* The events of a page that the subscription wants, up to the position where it becomes live. */
static void
send_page(Subscription *s, PGresult *result)
{
	Client *client = s->client;
	bool lagging = s == &client->lag;
	int rows = PQntuples(result), n = 0;
	int64_t next = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	int64_t until = lagging ? INT64_MAX : client->position;
	Slice *events = malloc(sizeof(Slice) * (size_t) rows);
	size_t *offsets = malloc(sizeof(size_t) * (size_t) (rows + 1));
	Text json = {0};

	if (events == NULL || offsets == NULL)
		abort();
	for (int row = 0; row < rows; row++)
	{
		FilterEvent event = {
			field(result, row, 5), field(result, row, 6), field(result, row, 2), {NULL, 0}};
		size_t before = json.len;
		int64_t position = PQgetisnull(result, row, 1)
							   ? INT64_MAX
							   : strtoll(PQgetvalue(result, row, 1), NULL, 10);
		bool wanted = false;

		if (position > until || position == INT64_MAX)
			continue;
		event_json(&json, result, row);
		event.json = (Slice){json.data + before, json.len - before};
		if (!lagging)
			wanted = filter_wants(&s->filter, &event);
		for (Subscription *live = client->subscriptions; lagging && live && !wanted;
			 live = live->next)
			wanted = live->live && position > live->position && filter_wants(&live->filter, &event);
		if (wanted)
			offsets[n++] = before;
		else
			json.len = before;
	}
	offsets[n] = json.len;
	for (int i = 0; i < n; i++)
		events[i] = (Slice){json.data + offsets[i], offsets[i + 1] - offsets[i]};
	s->position = next < until ? next : until;
	if (lagging)
		client->position = s->position;
	if (n > 0)
	{
		fanout.counts.frames++;
		fanout.counts.events += n;
		client->transport->events(client, lagging ? NULL : s, events, n, s->position);
	}
	free(events);
	free(offsets);
	text_free(&json);
}

/* The oldest position that is left, from the error's detail; -1: it does not say. */
static int64_t
oldest_of(const PGresult *result)
{
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	while (detail && *detail && (*detail < '0' || *detail > '9'))
		detail++;
	return detail && *detail ? strtoll(detail, NULL, 10) : -1;
}

static void
page_gone(Subscription *s, PGresult *result)
{
	Client *client = s->client;
	int64_t oldest = oldest_of(result);

	fanout.counts.gone++;
	if (s != &client->lag)
	{
		client->transport->gone(client, s, oldest);
		return;
	}
	/* What has fallen behind too far has for each of its subscriptions. */
	client->position = fanout.position; /* so what begins again behind the gap begins in the past */
	for (Subscription *live = client->subscriptions, *next; live && !client->ended; live = next)
	{
		next = live->next;
		if (live->live)
			client->transport->gone(client, live, oldest);
	}
}

static void
page_read(void *context, DbOutcome outcome, PGresult *result)
{
	Page *page = context;
	Subscription *s = page->subscription;
	Client *client = s->client;
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	bool ended = s->ended;

	identity_release(page->identity);
	free(page);
	fanout.reading--;
	client->pages--;
	s->reading = false;
	if (ended)
		subscription_end(s);
	if (client->ended)
		client_end(client);
	else if (ended)
		; /* nobody waits for it */
	else if (outcome == DB_DONE)
	{
		send_page(s, result);
		pump(client);
	}
	else if (sqlstate && strcmp(sqlstate, "US004") == 0)
		page_gone(s, result);
	/* else: the sweep asks again */
	next_reader();
}

/*
 * Clients and subscriptions
 */

void
client_begin(Client *client)
{
	client->next = fanout.clients;
	if (client->next)
		client->next->previous = client;
	fanout.clients = client;
	client->lag.client = client;
	client->position = fanout.position;
	fanout.counts.clients++;
}

static void
unqueue(Subscription *s)
{
	for (Subscription **at = &fanout.queue; *at; at = &(*at)->waiting)
		if (*at == s)
		{
			*at = s->waiting;
			s->reading = false;
			break;
		}
	fanout.queue_end = &fanout.queue;
	while (*fanout.queue_end)
		fanout.queue_end = &(*fanout.queue_end)->waiting;
}

void
subscription_end(Subscription *s)
{
	Client *client = s->client;

	if (s->reading)
		unqueue(s);
	if (!s->ended)
	{
		for (Subscription **at = &client->subscriptions; *at; at = &(*at)->next)
			if (*at == s)
			{
				*at = s->next;
				break;
			}
		client->nsubscriptions--;
		client->nlive -= s->live;
		fanout.counts.subscriptions--;
		s->ended = true;
	}
	if (!s->reading)
		free(s);
}

/* A page that is on its way must find what it belongs to. */
void
client_end(Client *client)
{
	if (!client->ended)
	{
		client->ended = true;
		if (client->previous)
			client->previous->next = client->next;
		else
			fanout.clients = client->next;
		if (client->next)
			client->next->previous = client->previous;
		fanout.counts.clients--;
		fanout.counts.behind -= client->behind;
	}
	if (client->lag.reading)
		unqueue(&client->lag);
	for (Subscription *s = client->subscriptions; s; s = s->next)
		if (s->reading)
			unqueue(s);
	if (client->pages > 0)
		return;
	while (client->subscriptions)
		subscription_end(client->subscriptions);
	identity_release(client->identity);
	client->freed(client);
}

Subscription *
subscription_make(Client *client, Slice id, const EventFilter *filter)
{
	EventFilter copy;
	Subscription *s = filter_copy(filter, sizeof(Subscription), &copy);

	s->filter = copy;
	s->client = client;
	snprintf(s->id, sizeof(s->id), "%.*s", (int) id.len, id.data);
	s->next = client->subscriptions;
	client->subscriptions = s;
	client->nsubscriptions++;
	fanout.counts.subscriptions++;
	return s;
}

Subscription *
subscription_find(Client *client, Slice id)
{
	for (Subscription *s = client->subscriptions; s; s = s->next)
		if (slice_is(id, s->id))
			return s;
	return NULL;
}

bool
subscription_is_past(const Subscription *s, int64_t after)
{
	return after >= 0 && after < s->client->position;
}

void
subscription_start(Subscription *s, int64_t after)
{
	Client *client = s->client;

	if (!subscription_is_past(s, after))
	{
		s->live = true;
		client->nlive++;
		s->position = after > client->position ? after : client->position;
	}
	else
	{
		s->position = after;
		fanout.counts.resumed++;
	}
	pump(client);
}

/*
 * The tail
 */

static void
tail_events(TailListener *listener, const TailEvent *events, int n)
{
	(void) listener;
	for (int i = 0; i < n; i++)
		ring_push(&events[i]);
}

static void
tail_moved(TailListener *listener, int64_t position, bool jumped)
{
	double began = ev_time();

	(void) listener;
	if (jumped)
		ring_clear(position);
	fanout.position = position;
	fanout.known = true;
	for (Client *client = fanout.clients, *next; client; client = next)
	{
		next = client->next;
		pump(client);
	}
	fanout.counts.rounds++;
	fanout.counts.seconds += ev_time() - began;
}

/* Whoever waits for a page that could not be read. */
static void
sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	for (Client *client = fanout.clients, *next; client; client = next)
	{
		next = client->next;
		pump(client);
	}
}

void
fanout_start(void)
{
	static ev_timer timer;

	fanout.queue_end = &fanout.queue;
	fanout.tail = (TailListener){
		.events = tail_events, .moved = tail_moved, .wants_events = true, .wants_content = true};
	tail_listen(&fanout.tail);
	ev_timer_init(&timer, sweep, RETRY_SECONDS, RETRY_SECONDS);
	ev_timer_start(usherd_loop, &timer);
}

bool
fanout_ready(void)
{
	return fanout.known;
}

int64_t
fanout_position(void)
{
	return fanout.position;
}

FanoutCounts
fanout_counts(void)
{
	fanout.counts.memory_bytes = ring_bytes();
	return fanout.counts;
}
