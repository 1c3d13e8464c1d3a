/*
 * gateway/fanout.c
 *	  The log, live, for many clients.
 *
 * The newest events stand in a ring as JSON, made once each.  When the tail of the log moves, each new event is
 * matched once for all; a frame is made once for each class that wants some, and written to its clients.  Those
 * whom nothing concerns are not looked at: a client is current until a write to it would be queued.  Then it
 * falls back, with a position of its own, and catches up in turns (fanout_turn.c).
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "availability.h"
#include "fanout_block.h"
#include "fanout_class.h"
#include "fanout_ring.h"
#include "fanout_round.h"
#include "fanout_turn.h"
#include "tail.h"
#include "usherd.h"

#define RETRY_SECONDS 0.5

static struct
{
	int64_t position; /* everything up to here was handed over by the tail */
	bool known;
	uint64_t seen; /* the ring's events in front of it were matched */
	Client *clients;
	Client *ahead; /* have subscriptions that begin behind the end */
	int64_t ahead_min; /* none of them begins in front of it */
	TailListener tail;
	FanoutCounts counts;
} fanout;

FanoutCounts *
fanout_counters(void)
{
	return &fanout.counts;
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

int64_t
client_position(const Client *client)
{
	return client->current ? fanout.position : client->position;
}

/*
 * Who is current, and in which class
 */

static void
class_list_leave(Client *client)
{
	if (client->class == NULL)
		return;
	if (client->class_previous)
		client->class_previous->class_next = client->class_next;
	else
		client->class->clients = client->class_next;
	if (client->class_next)
		client->class_next->class_previous = client->class_previous;
	client->class->nclients--;
}

static void
class_list_join(Client *client)
{
	if (client->class == NULL)
		return;
	client->class_previous = NULL;
	client->class_next = client->class->clients;
	if (client->class_next)
		client->class_next->class_previous = client;
	client->class->clients = client;
	client->class->nclients++;
}

/* Its live subscriptions have changed. */
static void
reclass(Client *client)
{
	Want *wants[client->nsubscriptions + 1];
	Class *old = client->class;
	int n = 0;

	for (const Subscription *s = client->subscriptions; s; s = s->next)
		if (s->live && !s->ahead)
			wants[n++] = s->want;
	if (client->current)
		class_list_leave(client);
	client->class = class_use(client->transport, client->tenant, wants, n);
	if (client->current)
		class_list_join(client);
	if (old)
		class_leave(old);
}

/*
 * Subscriptions that begin behind the end of the log
 */

static void
ahead_enter(Client *client, int64_t position)
{
	if (fanout.ahead == NULL || position < fanout.ahead_min)
		fanout.ahead_min = position;
	if (client->nahead++ > 0)
		return;
	client->ahead_previous = NULL;
	client->ahead_next = fanout.ahead;
	if (client->ahead_next)
		client->ahead_next->ahead_previous = client;
	fanout.ahead = client;
}

static void
ahead_leave(Client *client)
{
	if (--client->nahead > 0)
		return;
	if (client->ahead_previous)
		client->ahead_previous->ahead_next = client->ahead_next;
	else
		fanout.ahead = client->ahead_next;
	if (client->ahead_next)
		client->ahead_next->ahead_previous = client->ahead_previous;
}

/* They take part once the client is there. */
static void
arrive(Client *client)
{
	bool arrived = false;

	if (client->nahead == 0)
		return;
	for (Subscription *s = client->subscriptions; s; s = s->next)
		if (s->ahead && s->position <= client_position(client))
		{
			s->ahead = false;
			arrived = true;
			ahead_leave(client);
		}
	if (arrived)
		reclass(client);
}

void
client_becomes_current(Client *client)
{
	client->current = true;
	fanout.counts.slow--;
	class_list_join(client);
	arrive(client);
}

void
client_falls_back(Client *client, int64_t position)
{
	if (!client->current)
		return;
	client->current = false;
	client->position = position;
	fanout.counts.slow++;
	class_list_leave(client);
}

void
client_is_behind(Client *client, bool behind)
{
	if (client->behind != behind)
		fanout.counts.behind += behind ? 1 : -1;
	client->behind = behind;
}

void
fanout_writable(Client *client)
{
	turn_queue(client);
}

/*
 * Clients and subscriptions
 */

/* Without clients only the position is followed: content costs the database more than all else here. */
static void
listen_for_clients(void)
{
	fanout.tail.wants = fanout.clients != NULL ? TAIL_CONTENT : TAIL_POSITION;
}

void
client_begin(Client *client)
{
	client->next = fanout.clients;
	if (client->next)
		client->next->previous = client;
	fanout.clients = client;
	listen_for_clients();
	client->lag.client = client;
	client->tenant = tenant_use(client->identity->tenant);
	client->current = true;
	fanout.counts.clients++;
}

void
client_end(Client *client)
{
	while (client->subscriptions)
		subscription_end(client->subscriptions);
	if (client->previous)
		client->previous->next = client->next;
	else
		fanout.clients = client->next;
	if (client->next)
		client->next->previous = client->previous;
	listen_for_clients();
	turn_leave(client);
	block_forget(&client->lag);
	client_is_behind(client, false);
	fanout.counts.slow -= !client->current;
	fanout.counts.clients--;
	tenant_leave(client->tenant);
	identity_release(client->identity);
	client->freed(client);
}

Subscription *
subscription_make(Client *client, Slice id, const EventFilter *filter)
{
	Subscription *s = calloc(1, sizeof(Subscription));

	if (s == NULL)
		abort();
	s->client = client;
	s->want = want_use(client->tenant, filter);
	snprintf(s->id, sizeof(s->id), "%.*s", (int) id.len, id.data);
	s->next = client->subscriptions;
	client->subscriptions = s;
	client->nsubscriptions++;
	fanout.counts.subscriptions++;
	availability_begin(s, filter);
	return s;
}

void
subscription_end(Subscription *s)
{
	Client *client = s->client;
	Subscription **at = &client->subscriptions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	client->nsubscriptions--;
	client->nlive -= s->live;
	fanout.counts.subscriptions--;
	if (s->ahead)
		ahead_leave(client);
	block_forget(s);
	availability_end(s);
	if (s->live && !s->ahead)
		reclass(client);
	want_leave(s->want);
	free(s);
	if (client->nlive == 0 && !client->current)
		turn_queue(client); /* it has missed nothing */
}

const EventFilter *
subscription_filter(const Subscription *s)
{
	return &s->want->interest.filter;
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
	return after >= 0 && after < client_position(s->client);
}

void
subscription_becomes_live(Subscription *s)
{
	s->live = true;
	s->client->nlive++;
	reclass(s->client);
}

void
subscription_start(Subscription *s, int64_t after)
{
	Client *client = s->client;

	if (subscription_is_past(s, after))
	{
		s->position = after;
		fanout.counts.resumed++;
		turn_queue(client);
		return;
	}
	s->position = after;
	if (after > client_position(client))
	{
		s->live = s->ahead = true;
		client->nlive++;
		ahead_enter(client, after);
	}
	else
		subscription_becomes_live(s);
}

/*
 * A round: what the tail has brought
 */

static void
all_fall_back(int64_t position)
{
	for (Client *client = fanout.clients; client; client = client->next)
		turn_instead(client, position);
}

/* Those with a subscription that begins in front of where the log ends now: its first events are no class's. */
static void
reached_fall_back(int64_t position, int64_t end)
{
	int64_t min = INT64_MAX;

	for (Client *client = fanout.ahead; client; client = client->ahead_next)
		for (const Subscription *s = client->subscriptions; s; s = s->next)
		{
			if (s->ahead && s->position < end)
				turn_instead(client, position);
			else if (s->ahead && s->position < min)
				min = s->position;
		}
	fanout.ahead_min = min;
}

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
	int64_t before = fanout.position;

	(void) listener;
	if (jumped)
		ring_clear(position);
	if (!fanout.known)
		before = position;
	fanout.known = true;
	if (jumped || ring_floor() > before)
		all_fall_back(before);
	else if (fanout.ahead && fanout.ahead_min < position)
		reached_fall_back(before, position);
	fanout.position = position;
	if (!jumped && ring_floor() <= before)
		for (uint64_t number = fanout.seen; number < ring_end(); number++)
			class_match(ring_event(number)->tenant, &ring_event(number)->event, round_touch,
						number);
	fanout.seen = ring_end();
	round_hand_over(before);
	fanout.counts.rounds++;
	fanout.counts.seconds += ev_time() - began;
}

/*
 * Blocks of the past
 */

static void
block_came(Subscription *s)
{
	turn_queue(s->client);
}

/* What has fallen behind too far has for each of its subscriptions. */
static void
block_gone(Subscription *s, int64_t oldest)
{
	Client *client = s->client;

	fanout.counts.gone++;
	if (s != &client->lag)
	{
		client->transport->gone(client, s, oldest);
		return;
	}
	client_is_behind(client, false);
	client_becomes_current(client); /* so what begins again behind the gap begins in the past */
	for (Subscription *live = client->subscriptions, *next; live; live = next)
	{
		next = live->next;
		if (live->live)
			client->transport->gone(client, live, oldest);
	}
}

static const BlockCalls block_calls = {block_came, block_gone};

/* Pages that could not be read, and whoever waits for them. */
static void
sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	block_sweep();
}

void
fanout_start(void)
{
	static ev_timer timer;

	class_start();
	turn_start();
	block_start(&block_calls);
	fanout.tail = (TailListener){.events = tail_events, .moved = tail_moved};
	tail_listen(&fanout.tail);
	ev_timer_init(&timer, sweep, RETRY_SECONDS, RETRY_SECONDS);
	ev_timer_start(usherd_loop, &timer);
}

FanoutCounts
fanout_counts(void)
{
	fanout.counts.memory_bytes = ring_bytes();
	fanout.counts.classes = class_count();
	fanout.counts.pages = block_pages();
	return fanout.counts;
}
