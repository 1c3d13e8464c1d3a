/*
 * gateway/availability.c
 *	  Free places of shows, live.
 *
 * A Show lives while somebody follows it, or its numbers are on their way.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "availability.h"
#include "db.h"
#include "handlers/boxoffice.h"
#include "tail.h"
#include "usherd.h"

#define TICK_SECONDS  0.1
#define RETRY_SECONDS 1.0
#define BUCKETS       256
#define TOPIC_FORMAT  "show.%" PRId64 ".availability"
#define TRANSPORTS    4 /* whose frames differ */

typedef struct Show
{
	struct Show *next; /* of the bucket */
	struct Follower *followers;
	int64_t id;
	char id_text[24], topic[48];
	Text last; /* what was told last */
	bool changed; /* perhaps: since it was asked */
	bool asking;
	bool untold; /* some followers do not know the newest numbers */
	double not_before;
	char tenant[];
} Show;

/* One of a subscription's types; in two lists. */
typedef struct Follower
{
	struct Follower *next; /* of the subscription */
	struct Follower *show_previous, *show_next;
	Show *show;
	Subscription *subscription;
	bool told;
} Follower;

static struct
{
	Show *buckets[BUCKETS];
	TailListener tail;
	ev_timer tick;
	AvailabilityCounts counts;
} here;

static const DbStatement statement = {
	.name = "live_availability",
	.sql = "SELECT usher.gateway_box_availability($1, $2)",
	.nparams = 2,
};

/* ---- types ---- */

/* "show.<id>.availability" */
static bool
is_topic(Slice type, int64_t *show)
{
	static const char front[] = "show.", back[] = ".availability";
	size_t around = sizeof(front) - 1 + sizeof(back) - 1;

	return type.len > around && memcmp(type.data, front, sizeof(front) - 1) == 0 &&
		   memcmp(type.data + type.len - (sizeof(back) - 1), back, sizeof(back) - 1) == 0 &&
		   slice_int((Slice){type.data + sizeof(front) - 1, type.len - around}, 0, INT64_MAX, show);
}

bool
availability_allowed(const Identity *identity, Slice type)
{
	int64_t show;

	return is_topic(type, &show) && box_may_read(identity);
}

/* ---- telling ---- */

static void
tell(Show *show)
{
	struct
	{
		const Transport *transport;
		Frame *frame;
	} made[TRANSPORTS];
	int n = 0;

	show->untold = false;
	for (Follower *f = show->followers; f; f = f->show_next)
	{
		Client *client = f->subscription->client;
		int i = 0;

		if (f->told)
			continue;
		if (client->transport->choked(client))
		{
			show->untold = true;
			continue;
		}
		while (i < n && made[i].transport != client->transport)
			i++;
		if (i == n && n == TRANSPORTS)
			continue;
		if (i == n)
		{
			made[n].transport = client->transport;
			made[n++].frame = client->transport->signal((Slice){show->topic, strlen(show->topic)},
														(Slice){show->last.data, show->last.len});
		}
		f->told = true;
		here.counts.told++;
		client->transport->send(client, made[i].frame);
	}
	for (int i = 0; i < n; i++)
		frame_release(made[i].frame);
}

static void
show_free(Show *show)
{
	Show **at = &here.buckets[show->id % BUCKETS];

	if (show->followers != NULL || show->asking)
		return;
	while (*at != show)
		at = &(*at)->next;
	*at = show->next;
	text_free(&show->last);
	free(show);
	if (--here.counts.shows > 0)
		return;
	tail_leave(&here.tail);
	ev_timer_stop(usherd_loop, &here.tick);
}

/* ---- asking ---- */

static void
answered(void *context, DbOutcome outcome, PGresult *result)
{
	Show *show = context;
	Slice now;

	show->asking = false;
	if (outcome == DB_DONE && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
	{
		now = (Slice){PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0)};
		if (now.len != show->last.len || memcmp(now.data, show->last.data, now.len) != 0)
		{
			show->last.len = 0;
			text_add(&show->last, now.data, now.len);
			for (Follower *f = show->followers; f; f = f->show_next)
				f->told = false;
		}
		tell(show);
	}
	else if (outcome !=
			 DB_REFUSED) /* refused: there is no such show, until an event says otherwise */
	{
		show->changed = true;
		show->not_before = db_now() + RETRY_SECONDS;
	}
	show_free(show);
}

static void
ask(Show *show)
{
	DbCall call = {.statement = &statement,
				   .values = {show->tenant, show->id_text},
				   .tenant = show->tenant,
				   .done = answered,
				   .context = show};

	show->changed = false;
	show->asking = true;
	here.counts.asked++;
	db_submit(LANE_READ, &call);
}

static void
on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) loop, (void) timer, (void) events;
	for (int i = 0; i < BUCKETS; i++)
		for (Show *show = here.buckets[i]; show; show = show->next)
		{
			if (show->changed && !show->asking && show->not_before <= db_now())
				ask(show);
			else if (show->untold && show->last.len > 0)
				tell(show);
		}
}

/* ---- what happens ---- */

/*
 * The show of an event of the box office, -1: of any.  Keys of jsonb stand in order of their length, and nothing in
 * front of "show" is a text that a client has given.
 */
static int64_t
show_of(const TailEvent *event)
{
	static const char key[] = "\"show\": ";
	const char *at = strstr(event->data, key);

	return at ? strtoll(at + sizeof(key) - 1, NULL, 10) : -1;
}

static bool
is_ours(const TailEvent *event)
{
	static const char *const types[] = {"booking.", "zone.", "event.", "show."};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strncmp(event->type, types[i], strlen(types[i])) == 0)
			return true;
	return false;
}

static void
mark(const char *tenant, int64_t id)
{
	for (int i = 0; i < BUCKETS; i++)
	{
		if (id >= 0 && id % BUCKETS != i)
			continue;
		for (Show *show = here.buckets[i]; show; show = show->next)
			if ((id < 0 || show->id == id) && (tenant == NULL || strcmp(show->tenant, tenant) == 0))
				show->changed = true;
	}
}

static void
tail_events(TailListener *listener, const TailEvent *events, int n)
{
	(void) listener;
	for (int i = 0; i < n; i++)
		if (is_ours(&events[i]))
			mark(events[i].tenant, show_of(&events[i]));
}

static void
tail_moved(TailListener *listener, int64_t position, bool jumped)
{
	(void) listener, (void) position;
	if (jumped)
		mark(NULL, -1);
}

/* ---- who follows ---- */

static Show *
show_find(const char *tenant, int64_t id)
{
	Show **bucket = &here.buckets[id % BUCKETS], *show;

	for (show = *bucket; show; show = show->next)
		if (show->id == id && strcmp(show->tenant, tenant) == 0)
			return show;
	show = calloc(1, sizeof(Show) + strlen(tenant) + 1);
	if (show == NULL)
		abort();
	memcpy(show->tenant, tenant, strlen(tenant) + 1);
	show->id = id;
	snprintf(show->id_text, sizeof(show->id_text), "%" PRId64, id);
	snprintf(show->topic, sizeof(show->topic), TOPIC_FORMAT, id);
	show->next = *bucket;
	*bucket = show;
	if (here.counts.shows++ == 0)
	{
		here.tail = (TailListener){
			.events = tail_events, .moved = tail_moved, .wants = TAIL_CONTENT};
		tail_listen(&here.tail);
		ev_timer_init(&here.tick, on_tick, TICK_SECONDS, TICK_SECONDS);
		ev_timer_start(usherd_loop, &here.tick);
	}
	return show;
}

static void
follow(Subscription *subscription, Show *show)
{
	Follower *f = calloc(1, sizeof(Follower));

	if (f == NULL)
		abort();
	*f = (Follower){.next = subscription->followers,
					.show_next = show->followers,
					.show = show,
					.subscription = subscription};
	if (f->show_next)
		f->show_next->show_previous = f;
	show->followers = f;
	subscription->followers = f;
	show->changed = true;
	here.counts.followers++;
}

void
availability_begin(Subscription *subscription, const EventFilter *filter)
{
	int64_t id;

	for (int i = 0; i < filter->ntypes; i++)
		if (is_topic(filter->types[i], &id))
			follow(subscription, show_find(subscription->client->identity->tenant, id));
}

void
availability_end(Subscription *subscription)
{
	Follower *f;

	while ((f = subscription->followers) != NULL)
	{
		subscription->followers = f->next;
		*(f->show_previous ? &f->show_previous->show_next : &f->show->followers) = f->show_next;
		if (f->show_next)
			f->show_next->show_previous = f->show_previous;
		here.counts.followers--;
		show_free(f->show);
		free(f);
	}
}

AvailabilityCounts
availability_counts(void)
{
	return here.counts;
}
