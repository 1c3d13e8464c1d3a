/*
 * gateway/fanout_ring.c
 *	  The newest events of the log, as JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "fanout_ring.h"
#include "handlers/handlers.h"

#define RING_EVENTS 16384
#define RING_BYTES  (32 * 1024 * 1024)

static struct
{
	RingEvent events[RING_EVENTS];
	uint64_t first, end;
	int64_t bytes, floor;
} ring;

static void
drop_oldest(void)
{
	RingEvent *oldest = &ring.events[ring.first % RING_EVENTS];

	ring.floor = oldest->position;
	ring.bytes -= (int64_t) oldest->event.json.len;
	free(oldest->text);
	ring.first++;
}

static Slice
put(char **at, const char *data, size_t len)
{
	Slice slice = {*at, len};

	memcpy(*at, data, len);
	(*at)[len] = '\0';
	*at += len + 1;
	return slice;
}

void
ring_push(const TailEvent *event)
{
	static Text json;
	RingEvent *slot;
	size_t tenant = strlen(event->tenant), type = strlen(event->type), topic = strlen(event->topic),
		   stream = strlen(event->stream);
	char *at;

	json.len = 0;
	tail_event_json(&json, event);
	while (ring.end - ring.first >= RING_EVENTS ||
		   (ring.end > ring.first && ring.bytes + (int64_t) json.len > RING_BYTES))
		drop_oldest();
	slot = &ring.events[ring.end++ % RING_EVENTS];
	at = slot->text = malloc(tenant + type + topic + stream + json.len + 5);
	if (at == NULL)
		abort();
	slot->position = event->position;
	slot->tenant = put(&at, event->tenant, tenant).data;
	slot->event.type = put(&at, event->type, type);
	slot->event.topic = put(&at, event->topic, topic);
	slot->event.stream = put(&at, event->stream, stream);
	slot->event.json = put(&at, json.data, json.len);
	ring.bytes += (int64_t) json.len;
}

void
ring_clear(int64_t position)
{
	while (ring.first < ring.end)
		drop_oldest();
	ring.floor = position;
}

uint64_t
ring_find(int64_t position)
{
	uint64_t low = ring.first, high = ring.end;

	while (low < high)
	{
		uint64_t middle = low + (high - low) / 2;

		if (ring.events[middle % RING_EVENTS].position <= position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int64_t
ring_floor(void)
{
	return ring.floor;
}

uint64_t
ring_end(void)
{
	return ring.end;
}

const RingEvent *
ring_event(uint64_t number)
{
	return &ring.events[number % RING_EVENTS];
}

int64_t
ring_bytes(void)
{
	return ring.bytes;
}
