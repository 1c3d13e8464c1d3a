/*
 * bgworkers/sinks/memory.c
 *	  The sink for development: messages go into a ring in shared memory.
 *
 * Unlike the others it uses PostgreSQL, since the ring is in its shared
 * memory.  All lanes and replays of a sink share the ring of lane 0.
 */
#include "relay.h"

#include "relay/ring.h"

#include "miscadmin.h"
#include "utils/json.h"
#include "utils/memutils.h"

typedef struct MemorySink
{
	UsherSink sink;
	UsherRing *ring; /* NULL: lane 0 has not made it yet */
	StringInfoData headers;
} MemorySink;

/* Mapped for as long as this process lives. */
static UsherRing *
find_ring(const UsherSinkContext *context)
{
	UsherRelay *owner = usher_relay_entry(relay_log(), context->sink_id, 0, 0, false);
	dsm_handle handle = owner ? pg_atomic_read_u32(&owner->ring) : 0;
	dsm_segment *segment;
	UsherRing *ring = NULL;

	if (handle != 0)
	{
		ring = usher_ring_attach(handle, &segment);
		if (ring && segment)
			dsm_pin_mapping(segment);
	}
	if (ring == NULL && owner && context->lane == 0 && context->replay == 0)
	{
		ring = usher_ring_create(&handle);
		pg_atomic_write_u32(&owner->ring, handle);
	}
	return ring;
}

static UsherSink *
memory_open(const UsherSinkContext *context, int64_t *position, UsherSinkResult *result)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	MemorySink *m = palloc0(sizeof(MemorySink));

	m->sink.ops = &usher_sink_memory;
	m->sink.context = context;
	m->sink.fd = -1;
	initStringInfo(&m->headers);
	m->ring = find_ring(context);
	MemoryContextSwitchTo(old);
	*result = SINK_OK;
	return &m->sink;
}

static UsherSinkResult
memory_ready(UsherSink *sink, int64_t *position)
{
	MemorySink *m = (MemorySink *) sink;

	if (m->ring == NULL)
		m->ring = find_ring(sink->context);
	return m->ring ? SINK_OK : SINK_FULL;
}

static void
headers_json(StringInfo out, const UsherMessage *message)
{
	resetStringInfo(out);
	for (int i = 0; i < message->nattributes; i++)
	{
		const UsherAttribute *a = &message->attributes[i];

		appendStringInfoChar(out, i == 0 ? '{' : ',');
		escape_json(out, a->name);
		appendStringInfoChar(out, ':');
		escape_json(out, a->value);
	}
	appendStringInfoString(out, message->nattributes == 0 ? "{}" : "}");
}

static UsherSinkResult
memory_send(UsherSink *sink, UsherMessage *message)
{
	MemorySink *m = (MemorySink *) sink;
	UsherRingMessage header = {
		.topic_len = (int32) message->topic_len,
		.key_len = message->key ? (int32) message->key_len : -1,
		.body_len = message->body ? (int32) message->body_len : -1,
		.position = message->position,
		.added_at = GetCurrentTimestamp(),
	};

	headers_json(&m->headers, message);
	header.headers_len = m->headers.len;
	if (usher_ring_add(m->ring, &header, message->topic, message->key, m->headers.data,
					   message->body))
		usher_message_done(message);
	else
		usher_message_rejected(message, -1, "too_large", "the message is larger than the ring");
	return SINK_OK;
}

static UsherSinkResult
memory_poll(UsherSink *sink)
{
	return SINK_OK;
}

static void
memory_close(UsherSink *sink)
{
	MemorySink *m = (MemorySink *) sink;

	pfree(m->headers.data);
	pfree(m);
}

const UsherSinkOps usher_sink_memory = {
	.kind = "memory",
	.open = memory_open,
	.ready = memory_ready,
	.send = memory_send,
	.poll = memory_poll,
	.close = memory_close,
};
