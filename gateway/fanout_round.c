/*
 * gateway/fanout_round.c
 *	  A round of the live log: what the tail has brought goes to who is current.
 *
 * A frame is made once for each class that wants some of it, and written to its clients.  What a large class takes
 * is bounded: a write to each of thousands of sockets, or of hundreds that nobody reads from, may take long, and all others,
 * requests too, would wait for it.  Who comes behind the end of the time has a turn instead (fanout_turn.c).
 */
#include <ev.h>
#include <stdlib.h>

#include "fanout_class.h"
#include "fanout_ring.h"
#include "fanout_round.h"
#include "fanout_turn.h"

#define FRAME_EVENTS  512
#define FRAME_BYTES   65536
#define LARGE_CLASS   64 /* clients: what one of them scans for its turn is for many */
#define ROUND_SECONDS 0.008 /* that large classes have together */

static Class *touched; /* in this round */

void
round_touch(Class *class, uint64_t number)
{
	if (class->nevents == class->size)
	{
		class->size = class->size ? class->size * 2 : 4;
		class->events = realloc(class->events, sizeof(uint64_t) * (size_t) class->size);
		if (class->events == NULL)
			abort();
	}
	if (class->nevents == 0)
	{
		class->touched = touched;
		touched = class;
	}
	class->events[class->nevents++] = number;
}

/* The frame of some of the class's events, from *at on; position: what it brings its clients to. */
static Frame *
next_frame(const Class *class, int *at, int64_t *position)
{
	static Slice events[FRAME_EVENTS];
	size_t bytes = 0;
	Frame *frame;
	int n = 0;

	*position = fanout_position();
	while (*at < class->nevents && n < FRAME_EVENTS && bytes < FRAME_BYTES)
	{
		const RingEvent *event = ring_event(class->events[(*at)++]);

		events[n++] = event->event.json;
		bytes += event->event.json.len;
		*position = event->position;
	}
	if (*at == class->nevents)
		*position = fanout_position();
	fanout_counters()->made++;
	frame = class->transport->frame(NULL, events, n, *position);
	frame->events = n;
	return frame;
}

static void
all_of_class_fall_back(Class *class, int64_t position)
{
	for (Client *client = class->clients, *next; client; client = next)
	{
		next = client->class_next;
		turn_instead(client, position);
	}
}

/*
 * Everybody who can be written to gets everything; the others fall back to where they are.  So do, behind the end
 * of the time, the clients of a large class, who then get it in turns, between which others are served.
 */
static void
hand_over(Class *class, int64_t before, double end)
{
	const Transport *transport = class->transport;
	bool large = class->nclients > LARGE_CLASS, late = large && ev_time() > end;
	int at = 0;

	while (at < class->nevents && class->clients && !late)
	{
		int64_t position;
		Frame *frame = next_frame(class, &at, &position);

		for (Client *client = class->clients, *next; client; client = next)
		{
			next = client->class_next;
			late = late || (large && ev_time() > end);
			if (late)
			{
				turn_instead(client, before);
				continue;
			}
			if (transport->choked(client))
			{
				client_falls_back(client, before);
				continue;
			}
			transport->send(client, frame);
			fanout_counters()->frames++;
			fanout_counters()->events += frame->events;
		}
		frame_release(frame);
		before = position;
	}
	if (at < class->nevents)
		all_of_class_fall_back(class, before);
	class->nevents = 0;
	if (class->size > FRAME_EVENTS)
	{
		free(class->events);
		class->events = NULL;
		class->size = 0;
	}
}

/* Those with few clients first: behind large classes these would wait for all of them. */
void
round_hand_over(int64_t before)
{
	double end = ev_time() + ROUND_SECONDS;
	Class *large = NULL;

	while (touched)
	{
		Class *class = touched;

		touched = class->touched;
		if (class->nclients <= LARGE_CLASS)
			hand_over(class, before, end);
		else
		{
			class->touched = large;
			large = class;
		}
	}
	for (Class *next; large; large = next)
	{
		next = large->touched;
		hand_over(large, before, end);
	}
}
