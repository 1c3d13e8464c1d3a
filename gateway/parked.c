/*
 * gateway/parked.c
 *	  Requests that wait.
 *
 * Waiters stand in a list for each tenant, found by hash.  Of a page of events
 * each pair (tenant, type) is matched once, against the waiters of that tenant.
 * Who is to be woken moves to the list `ready`, which is worked off with care:
 * a wake may end, add or wake others.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/glob.h"
#include "listener.h"
#include "parked.h"
#include "tail.h"
#include "usherd.h"

#define TENANT_LISTS        256
#define READ_AFTER_SECONDS  5.0
#define DISTINCT_EVENTS_MAX 256
#define TOPICS_KEPT         1024 /* of which it is known when somebody looked last */

struct WaiterList
{
	Waiter *first;
};

static void tail_events(TailListener *listener, const TailEvent *events, int n);
static void tail_moved(TailListener *listener, int64_t position, bool jumped);

static struct
{
	WaiterList tenants[TENANT_LISTS];
	WaiterList positions; /* of those that wait for a position */
	WaiterList ready;
	int count, watching; /* all; those that want events */
	bool listening, draining;
	ev_timer soon;
	TailListener listener;
} parked = {.listener = {.events = tail_events, .moved = tail_moved}};

static uint32_t
hash_text(uint32_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char) *text) * 16777619u;
	return hash;
}

static WaiterList *
list_of(const char *tenant)
{
	return &parked.tenants[hash_text(2166136261u, tenant) % TENANT_LISTS];
}

static void
list_add(WaiterList *list, Waiter *waiter)
{
	waiter->list = list;
	waiter->previous = NULL;
	waiter->next = list->first;
	if (list->first)
		list->first->previous = waiter;
	list->first = waiter;
}

static void
list_remove(Waiter *waiter)
{
	if (waiter->previous)
		waiter->previous->next = waiter->next;
	else
		waiter->list->first = waiter->next;
	if (waiter->next)
		waiter->next->previous = waiter->previous;
	waiter->list = NULL;
}

/*
 * Waking
 */

static void client_gone(Request *request);

/* While it sleeps the request ends when its client does. */
static void
watch_client(Waiter *waiter, bool on)
{
	Request *request = waiter->request;

	request->on_gone = on ? client_gone : NULL;
	if (request->connection != NULL)
		connection_watch(request->connection, on);
}

static void
work_off(void)
{
	Waiter *waiter;

	while ((waiter = parked.ready.first) != NULL)
	{
		list_remove(waiter);
		list_add(waiter->position >= 0 ? &parked.positions : list_of(waiter->tenant), waiter);
		watch_client(waiter, false);
		waiter->request->state = waiter->state;
		waiter->wake(waiter, waiter->why);
	}
}

static void
soon_fired(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	work_off();
}

/* From the loop, a little later. */
static void
work_off_soon(void)
{
	if (ev_is_active(&parked.soon))
		return;
	ev_timer_init(&parked.soon, soon_fired, 0, 0);
	ev_timer_start(usherd_loop, &parked.soon);
}

static void
make_ready(Waiter *waiter, WaiterWake why)
{
	waiter->asleep = false;
	waiter->why = why;
	ev_timer_stop(usherd_loop, &waiter->timer);
	list_remove(waiter);
	list_add(&parked.ready, waiter);
}

/* Until the deadline, or until it is time to look again. */
static void
set_timer(Waiter *waiter)
{
	double left = waiter->deadline - ev_now(usherd_loop);

	if (waiter->recheck_seconds > 0 && waiter->recheck_seconds < left)
		left = waiter->recheck_seconds;
	ev_timer_set(&waiter->timer, left > 0 ? left : 0, 0);
	ev_timer_start(usherd_loop, &waiter->timer);
}

/* One looks for all who wait about the topic; of two topics that share a place here both look more often. */
static bool
is_lookout(const Waiter *waiter)
{
	static struct
	{
		uint32_t topic;
		double looked_at;
	} kept[TOPICS_KEPT];
	uint32_t topic = hash_text(hash_text(2166136261u, waiter->tenant) * 16777619u, waiter->topic);
	double now = ev_now(usherd_loop);

	if (kept[topic % TOPICS_KEPT].topic == topic &&
		now - kept[topic % TOPICS_KEPT].looked_at < 0.9 * waiter->recheck_seconds)
		return false;
	kept[topic % TOPICS_KEPT].topic = topic;
	kept[topic % TOPICS_KEPT].looked_at = now;
	return true;
}

static void
timer_fired(struct ev_loop *loop, ev_timer *timer, int events)
{
	Waiter *waiter = timer->data;
	bool over = ev_now(loop) + 0.001 >= waiter->deadline;

	(void) events;
	if (!over && waiter->topic != NULL && !is_lookout(waiter))
	{
		set_timer(waiter);
		return;
	}
	make_ready(waiter, over ? WAKE_TIMEOUT : WAKE_EVENT);
	work_off();
}

static void
client_gone(Request *request)
{
	Waiter *waiter = request->state;

	parked_end(waiter);
	reply_unavailable(request, "gone",
					  "the client has gone"); /* nobody reads it; frees the request */
}

/*
 * The reader of the log
 */

/* Is it among those that wait? Then the reader works for us. */
static void
listen_or_leave(void)
{
	parked.listener.wants = parked.watching > 0 ? TAIL_HEADS : TAIL_POSITION;
	if (parked.count > 0 && !parked.listening)
	{
		parked.listening = true;
		tail_listen(&parked.listener);
	}
	else if (parked.count == 0 && parked.listening)
	{
		parked.listening = false;
		tail_leave(&parked.listener);
	}
}

static bool
matches(const Waiter *waiter, const TailEvent *event)
{
	if (event->position <= waiter->matched || event->position <= waiter->examined ||
		strcmp(waiter->tenant, event->tenant) != 0)
		return false;
	for (int i = 0; i < waiter->npatterns; i++)
		if (usher_glob_match(waiter->patterns[i].data, waiter->patterns[i].len, event->type,
							 strlen(event->type)))
			return true;
	return waiter->npatterns == 0;
}

static void
match_event(const TailEvent *event)
{
	WaiterList *list = list_of(event->tenant);

	for (Waiter *waiter = list->first, *next; waiter; waiter = next)
	{
		next = waiter->next;
		if (!matches(waiter, event))
			continue;
		waiter->matched = event->position;
		if (waiter->asleep)
			make_ready(waiter, WAKE_EVENT);
	}
}

/* The last event of each tenant and type says it for all of them. */
static void
tail_events(TailListener *listener, const TailEvent *events, int n)
{
	const TailEvent *distinct[DISTINCT_EVENTS_MAX];
	int ndistinct = 0;

	(void) listener;
	for (int i = n - 1; i >= 0; i--)
	{
		int k = 0;

		while (k < ndistinct && (strcmp(distinct[k]->type, events[i].type) != 0 ||
								 strcmp(distinct[k]->tenant, events[i].tenant) != 0))
			k++;
		if (k < ndistinct)
			continue;
		if (ndistinct < DISTINCT_EVENTS_MAX)
			distinct[ndistinct++] = &events[i];
		match_event(&events[i]);
	}
}

/* What was not handed over may be what somebody waits for: he looks again. */
static void
tail_jumped(int64_t position)
{
	for (int i = 0; i < TENANT_LISTS; i++)
		for (Waiter *waiter = parked.tenants[i].first, *next; waiter; waiter = next)
		{
			next = waiter->next;
			waiter->complete_after = position;
			if (waiter->asleep && waiter->examined < position)
				make_ready(waiter, WAKE_EVENT);
		}
}

static void
tail_moved(TailListener *listener, int64_t position, bool jumped)
{
	(void) listener;
	if (jumped)
		tail_jumped(position);
	for (Waiter *waiter = parked.positions.first, *next; waiter; waiter = next)
	{
		next = waiter->next;
		if (waiter->asleep && waiter->position <= tail_stable())
			make_ready(waiter, WAKE_EVENT);
	}
	if (parked.ready.first)
		work_off_soon();
}

/*
 * What handlers call
 */

static bool
join(Waiter *waiter)
{
	if (parked.draining || parked.count >= config.waiters_max)
	{
		reply_unavailable(waiter->request, "too-many-waiters",
						  parked.draining ? "the server is about to end"
										  : "as many requests wait as the server takes");
		return false;
	}
	waiter->matched = waiter->examined = -1;
	waiter->asleep = waiter->poked = false;
	ev_timer_init(&waiter->timer, timer_fired, 0, 0);
	waiter->timer.data = waiter;
	parked.count++;
	if (waiter->position < 0)
		parked.watching++;
	list_add(waiter->position >= 0 ? &parked.positions : list_of(waiter->tenant), waiter);
	waiter->complete_after = parked.listening && parked.listener.wants == TAIL_HEADS &&
									 tail_position() >= 0
								 ? tail_position()
								 : INT64_MAX;
	listen_or_leave();
	return true;
}

bool
parked_watch(Waiter *waiter)
{
	waiter->position = -1;
	return join(waiter);
}

/*
 * complete_after is INT64_MAX while the reader has not begun for us: when it does, it jumps, and who has
 * examined less than where it begins is woken.
 */
void
parked_sleep(Waiter *waiter, int64_t examined)
{
	bool known = waiter->complete_after != INT64_MAX;

	waiter->examined = examined;
	waiter->asleep = true;
	watch_client(waiter, true);
	waiter->state = waiter->request->state;
	waiter->request->state = waiter;
	if (waiter->matched > examined || waiter->poked || parked.draining ||
		(waiter->position < 0 && known && examined < waiter->complete_after))
	{
		waiter->poked = false;
		make_ready(waiter, parked.draining ? WAKE_DRAIN : WAKE_EVENT);
		work_off_soon();
		return;
	}
	set_timer(waiter);
}

void
parked_end(Waiter *waiter)
{
	if (waiter->list == NULL)
		return;
	ev_timer_stop(usherd_loop, &waiter->timer);
	list_remove(waiter);
	watch_client(waiter, false);
	parked.count--;
	if (waiter->position < 0)
		parked.watching--;
	listen_or_leave();
}

static void
poke(const char *tenant, const char *topic, bool one)
{
	for (Waiter *waiter = list_of(tenant)->first, *next; waiter; waiter = next)
	{
		next = waiter->next;
		if (waiter->topic == NULL || strcmp(waiter->topic, topic) != 0 ||
			strcmp(waiter->tenant, tenant) != 0)
			continue;
		if (waiter->asleep)
		{
			make_ready(waiter, WAKE_EVENT);
			if (one)
				break;
		}
		else if (!one)
			waiter->poked = true;
	}
	if (parked.ready.first)
		work_off_soon();
}

void
parked_poke(const char *tenant, const char *topic)
{
	poke(tenant, topic, false);
}

void
parked_poke_one(const char *tenant, const char *topic)
{
	poke(tenant, topic, true);
}

/*
 * Read what you wrote
 */

static void
readable(Waiter *waiter, WaiterWake why)
{
	Request *request = waiter->request;
	void (*go)(Request * request) = (void (*)(Request *)) waiter->context;

	parked_end(waiter);
	if (why == WAKE_EVENT)
		go(request);
	else
		reply_unavailable(request, "not-yet",
						  "the log has not come to the position of Usher-After");
}

void
parked_until_readable(Request *request, void (*go)(Request *request))
{
	Slice header = request_header(request, "usher-after");
	int64_t position;
	Waiter *waiter;

	if (header.data == NULL)
	{
		go(request);
		return;
	}
	if (!slice_int(header, 0, INT64_MAX, &position))
	{
		reply_problem(request, 400, "invalid-header", NULL, "Usher-After is a position");
		return;
	}
	if (position <= tail_stable())
	{
		go(request);
		return;
	}
	waiter = arena_zalloc(&request->arena, sizeof(Waiter));
	waiter->request = request;
	waiter->tenant = request->identity->tenant;
	waiter->position = position;
	waiter->wake = readable;
	waiter->context = (void *) go;
	waiter->deadline = ev_now(usherd_loop) + READ_AFTER_SECONDS;
	if (join(waiter))
		parked_sleep(waiter, -1);
}

void
parked_drain(void)
{
	parked.draining = true;
	for (int i = 0; i <= TENANT_LISTS; i++)
	{
		WaiterList *list = i == TENANT_LISTS ? &parked.positions : &parked.tenants[i];

		for (Waiter *waiter = list->first, *next; waiter; waiter = next)
		{
			next = waiter->next;
			if (waiter->asleep)
				make_ready(waiter, WAKE_DRAIN);
		}
	}
	work_off_soon();
}

int
parked_count(void)
{
	return parked.count;
}
