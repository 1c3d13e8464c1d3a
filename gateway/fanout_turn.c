/*
 * gateway/fanout_turn.c
 *	  Clients that have not everything get it in turn.
 *
 * A turn is one frame: from the ring of the newest events, or from a block of the past.  Frames end where
 * blocks do, and at the same places of the ring, so clients at nearby positions come to the same
 * position, and from there on share what was made for the first.
 *
 * In a round of the loop all turns together take a few milliseconds; what is live goes out between them.
 */
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "fanout_block.h"
#include "fanout_class.h"
#include "fanout_ring.h"
#include "fanout_turn.h"
#include "usherd.h"

#define GATHER_EVENTS 512 /* of one frame */
#define GATHER_BYTES  65536
#define SCAN_EVENTS   1024 /* in one turn; also where frames of the ring end */
#define SLICE_SECONDS 0.002
#define FRAMES_KEPT   64

/* What was made for somebody, while others may come to the same position. */
typedef struct Kept
{
	uint64_t serial; /* of the class, or of the want of the past; 0: nothing is here */
	const Transport *transport;
	char id[65];
	int64_t from, to;
	Frame *frame; /* NULL: nothing is wanted there */
} Kept;

typedef enum Step
{
	STEP_DONE, /* it has what there is */
	STEP_MORE,
	STEP_WAITS, /* until its socket takes more, or for a block */
} Step;

static struct
{
	Client *first, *last;
	ev_prepare round;
	ev_idle busy; /* the loop must not sleep */
	Kept kept[FRAMES_KEPT];
	bool keeps;
	EventDocument document;
} turn;

/*
 * The queue
 */

void
turn_queue(Client *client)
{
	if (client->queued || !fanout_ready())
		return;
	client->queued = true;
	client->turn_next = NULL;
	client->turn_previous = turn.last;
	if (turn.last)
		turn.last->turn_next = client;
	else
		turn.first = client;
	turn.last = client;
	if (!ev_is_active(&turn.busy))
		ev_idle_start(usherd_loop, &turn.busy);
}

void
turn_instead(Client *client, int64_t position)
{
	if (!client->current)
		return;
	client_falls_back(client, position);
	turn_queue(client);
}

void
turn_leave(Client *client)
{
	if (!client->queued)
		return;
	client->queued = false;
	if (client->turn_previous)
		client->turn_previous->turn_next = client->turn_next;
	else
		turn.first = client->turn_next;
	if (client->turn_next)
		client->turn_next->turn_previous = client->turn_previous;
	else
		turn.last = client->turn_previous;
}

/*
 * Frames
 */

static bool
wants(const Client *client, const Subscription *of, const RingEvent *event)
{
	const Class *class = client->class;

	if (!tenant_is(client->tenant, event->tenant))
		return false;
	document_begin(&turn.document, event->event.json);
	if (of)
		return interest_wants(&of->want->interest, &event->event, &turn.document);
	for (int i = 0; class && i < class->nwants; i++)
		if (interest_wants(&class->wants[i].want->interest, &event->event, &turn.document))
			return true;
	if (client->nahead > 0)
		for (const Subscription *s = client->subscriptions; s; s = s->next)
			if (s->ahead && event->position > s->position &&
				interest_wants(&s->want->interest, &event->event, &turn.document))
				return true;
	return false;
}

/* What is wanted behind from, up to *to, which is not behind until. NULL: nothing is. */
static Frame *
make(const Client *client, const Subscription *of, const Block *block, int64_t from, int64_t until,
	 int64_t *to)
{
	static Slice events[GATHER_EVENTS];
	uint64_t at = block ? (uint64_t) block_find(block, from) : ring_find(from);
	uint64_t end = block ? (uint64_t) block->n : ring_end();
	size_t bytes = 0;
	int n = 0, scanned = 0;
	bool all = true;
	Frame *frame;

	for (*to = from; all && at < end; at++)
	{
		const RingEvent *event = block ? &block->events[at] : ring_event(at);

		if (event->position > until)
			break;
		*to = event->position;
		if (wants(client, of, event))
		{
			events[n++] = event->event.json;
			bytes += event->event.json.len;
		}
		all = n < GATHER_EVENTS && bytes < GATHER_BYTES && ++scanned < SCAN_EVENTS &&
			  (block || at % SCAN_EVENTS != SCAN_EVENTS - 1);
	}
	if (all)
		*to = block && block->next < until ? block->next : until;
	if (n == 0)
		return NULL;
	fanout_counters()->made++;
	frame = client->transport->frame(of, events, n, *to);
	frame->events = n;
	return frame;
}

static void
forget_kept(void)
{
	for (int i = 0; turn.keeps && i < FRAMES_KEPT; i++)
	{
		if (turn.kept[i].serial && turn.kept[i].frame)
			frame_release(turn.kept[i].frame);
		turn.kept[i].serial = 0;
	}
	turn.keeps = false;
}

/* The same as make(), unless somebody else was there just now. The frame is the caller's, too. */
static Frame *
frame_behind(const Client *client, const Subscription *of, const Block *block, int64_t from,
			 int64_t until, int64_t *to)
{
	uint64_t serial = of ? of->want->serial : client->class ? client->class->serial : 0;
	Kept *kept = &turn.kept[(serial * 31 + (uint64_t) from) % FRAMES_KEPT];
	const char *id = of ? of->id : "";

	if (serial == 0 || client->nahead > 0)
		return make(client, of, block, from, until, to);
	if (kept->serial != serial || kept->from != from || kept->to > until ||
		kept->transport != client->transport || strcmp(kept->id, id) != 0)
	{
		if (kept->serial && kept->frame)
			frame_release(kept->frame);
		turn.keeps = true;
		kept->serial = serial;
		kept->transport = client->transport;
		strcpy(kept->id, id);
		kept->from = from;
		kept->frame = make(client, of, block, from, until, &kept->to);
	}
	*to = kept->to;
	return kept->frame ? frame_keep(kept->frame) : NULL;
}

/*
 * Turns
 */

/* One frame of what lies behind *position; reader: the subscription of the past, or the client's lag. */
static Step
step(Client *client, Subscription *reader, int64_t *position, int64_t until)
{
	const Subscription *of = reader == &client->lag ? NULL : reader;
	const Block *block = NULL;
	int64_t to;
	Frame *frame;

	if (client->transport->choked(client))
	{
		block_forget(reader); /* who does not read keeps no block */
		return STEP_WAITS;
	}
	if (*position >= until)
		return STEP_DONE;
	if (*position < ring_floor())
	{
		reader->position = *position;
		block = block_get(reader);
		if (block == NULL)
			return STEP_WAITS;
	}
	else
		block_forget(reader);
	frame = frame_behind(client, of, block, *position, until, &to);
	*position = to;
	if (frame)
	{
		fanout_counters()->frames++;
		fanout_counters()->events += frame->events;
		client->transport->send(client, frame);
		frame_release(frame);
	}
	return to >= until ? STEP_DONE : STEP_MORE;
}

static Step
live_turn(Client *client)
{
	Step result;

	if (client->nlive == 0)
		result = STEP_DONE; /* nobody wants what lies between */
	else
		result = step(client, &client->lag, &client->position, fanout_position());
	client_is_behind(client, result != STEP_DONE && client->position < ring_floor());
	if (result == STEP_DONE)
	{
		block_forget(&client->lag);
		client_becomes_current(client);
	}
	return result;
}

/* true: it has another turn. */
static bool
take_turn(Client *client)
{
	bool more = false;

	if (!client->current && live_turn(client) == STEP_MORE)
		more = true;
	for (Subscription *s = client->subscriptions; s; s = s->next)
	{
		Step result;

		if (s->live)
			continue;
		result = step(client, s, &s->position, client_position(client));
		if (result == STEP_DONE)
		{
			block_forget(s);
			subscription_becomes_live(s);
			client->transport->caught_up(client, s);
		}
		more = more || result == STEP_MORE;
	}
	return more;
}

static void
turns(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	double end;

	(void) loop, (void) watcher, (void) events;
	if (turn.first == NULL)
		return;
	end = ev_time() + SLICE_SECONDS;
	do
	{
		Client *client = turn.first;

		turn_leave(client);
		if (take_turn(client))
			turn_queue(client);
	} while (turn.first && ev_time() < end);
	if (turn.first)
		return;
	ev_idle_stop(usherd_loop, &turn.busy);
	forget_kept();
}

static void
not_idle(struct ev_loop *loop, ev_idle *watcher, int events)
{
	(void) loop, (void) watcher, (void) events;
}

void
turn_start(void)
{
	ev_prepare_init(&turn.round, turns);
	ev_prepare_start(usherd_loop, &turn.round);
	ev_idle_init(&turn.busy, not_idle);
}
