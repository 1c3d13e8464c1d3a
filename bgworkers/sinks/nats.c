/*
 * bgworkers/sinks/nats.c
 *	  NATS JetStream: messages with a stable Nats-Msg-Id, so that the server itself recognises a repetition.
 *
 * This is the relay's side; nats.h says how the work is shared.  Messages are
 * collected and handed to the courier some at a time; its answers are taken in
 * poll().  Nats-Msg-Id is <log>.<sink>.<position>, of a replay <...>.r<number>.
 */
#include "sinks/nats.h"
#include "sinks/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HAND_OVER        64 /* messages are handed over at the latest */
#define TAKEN_MAX        32768 /* messages that are not answered */
#define CONNECT_SLACK_MS 500

typedef struct NatsSink
{
	UsherSink base;
	NatsCourier *courier;
	UsherSinkResult broken;
	bool ready;
	UsherMessage *handing[HAND_OVER];
	int nhanding;
	int64_t outstanding;
	int64_t progress_ms; /* of the last answer, or since something is outstanding */
	NatsAnswers answers; /* to be looked at; memory that is exchanged with the courier's */
} NatsSink;

static NatsSink no_memory; /* what open() returns when there is none */

static UsherSinkResult
broken(NatsSink *s, UsherSinkResult result, const char *code, const char *text)
{
	if (s->broken == SINK_OK)
		s->broken = usher_sink_error(&s->base, result, code, "%s", text);
	return s->broken;
}

static void
hand_over(NatsSink *s)
{
	NatsCourier *c = s->courier;
	bool wake, ok;

	if (s->nhanding == 0)
		return;
	pthread_mutex_lock(&c->lock);
	ok = nats_messages_add(&c->handed, s->handing, (size_t) s->nhanding);
	wake = c->sleeping;
	pthread_mutex_unlock(&c->lock);
	if (!ok)
		(void) broken(s, SINK_LOST, "MEMORY", "out of memory");
	s->nhanding = 0;
	if (wake)
		nats_courier_wake(c);
}

static void
take_answer(NatsSink *s, NatsAnswer *a)
{
	if (a->code[0] != '\0')
		usher_message_rejected(a->message, -1, a->code, a->text ? a->text : a->code);
	else
		usher_message_done(a->message);
	s->base.duplicates += a->duplicate;
	free(a->text);
}

/* Answers first: what came before the connection broke counts. */
static void
take_answers(NatsSink *s)
{
	NatsCourier *c = s->courier;
	NatsAnswers taken;
	uint64_t count;
	bool is_broken;
	ssize_t got = read(c->told_fd, &count, sizeof(count));

	(void) got;
	pthread_mutex_lock(&c->lock);
	taken = c->answers;
	c->answers = s->answers;
	is_broken = c->stage == NATS_BROKEN;
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < taken.count; i++)
		take_answer(s, &taken.list[i]);
	if (taken.count > 0)
		s->progress_ms = usher_clock_ms();
	s->outstanding -= (int64_t) taken.count;
	taken.count = 0;
	s->answers = taken;
	if (is_broken)
		(void) broken(s, c->result, c->code, c->text);
}

static void
check_silence(NatsSink *s)
{
	const NatsConfig *config = &s->courier->config;
	int64_t now = usher_clock_ms();
	int64_t progress = __atomic_load_n(&s->courier->progress_ms, __ATOMIC_RELAXED);
	char text[128];

	if (!s->ready && now - progress > config->connect_timeout_ms + CONNECT_SLACK_MS)
	{
		snprintf(text, sizeof(text), "NATS: no connection in %d ms", config->connect_timeout_ms);
		(void) broken(s, SINK_LOST, "TIMEOUT", text);
	}
	if (s->outstanding > 0 && now - s->progress_ms > config->timeout_ms)
	{
		snprintf(text, sizeof(text), "NATS: nothing was acknowledged for %d ms",
				 config->timeout_ms);
		(void) broken(s, SINK_LOST, "TIMEOUT", text);
	}
}

/* ---- the functions of a sink ---- */

static UsherSinkResult
nats_poll(UsherSink *sink)
{
	NatsSink *s = (NatsSink *) sink;

	if (s->broken != SINK_OK)
		return s->broken;
	hand_over(s);
	take_answers(s);
	check_silence(s);
	return s->broken;
}

static UsherSinkResult
nats_ready(UsherSink *sink, int64_t *position)
{
	NatsSink *s = (NatsSink *) sink;

	(void) position;
	if (s->broken != SINK_OK || s->ready)
		return s->broken;
	pthread_mutex_lock(&s->courier->lock);
	s->ready = s->courier->stage == NATS_READY;
	pthread_mutex_unlock(&s->courier->lock);
	return s->ready ? SINK_OK : SINK_FULL;
}

static UsherSinkResult
nats_send(UsherSink *sink, UsherMessage *m)
{
	NatsSink *s = (NatsSink *) sink;

	if (s->broken != SINK_OK)
		return s->broken;
	if (!s->ready || s->outstanding >= TAKEN_MAX)
		return SINK_FULL;
	if (s->outstanding++ == 0)
		s->progress_ms = usher_clock_ms();
	s->handing[s->nhanding++] = m;
	if (s->nhanding == HAND_OVER)
		hand_over(s);
	return s->broken;
}

static void
nats_close(UsherSink *sink)
{
	NatsSink *s = (NatsSink *) sink;

	if (s == &no_memory)
		return;
	if (s->courier != NULL)
		nats_courier_stop(s->courier);
	free(s->answers.list);
	free(s);
}

static UsherSink *
nats_open(const UsherSinkContext *context, int64_t *position, UsherSinkResult *result)
{
	NatsSink *s = calloc(1, sizeof(NatsSink));
	char error[256] = "out of memory";

	(void) position;
	if (s == NULL)
	{
		s = &no_memory;
		memset(s, 0, sizeof(*s));
	}
	s->base.ops = &usher_sink_nats;
	s->base.context = context;
	s->base.fd = -1;
	if (s != &no_memory)
		s->courier = nats_courier_start(context, error, sizeof(error));
	if (s->courier == NULL)
	{
		*result = broken(s, SINK_LOST, "MEMORY", error);
		return &s->base;
	}
	s->base.fd = s->courier->told_fd;
	pthread_mutex_lock(&s->courier->lock);
	if (s->courier->stage == NATS_BROKEN)
		(void) broken(s, s->courier->result, s->courier->code, s->courier->text);
	pthread_mutex_unlock(&s->courier->lock);
	*result = s->broken;
	return &s->base;
}

const UsherSinkOps usher_sink_nats = {
	.kind = "nats",
	.open = nats_open,
	.ready = nats_ready,
	.send = nats_send,
	.poll = nats_poll,
	.close = nats_close,
	.verify = nats_verify,
};
