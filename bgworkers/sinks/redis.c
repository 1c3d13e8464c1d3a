/*
 * bgworkers/sinks/redis.c
 *	  Redis Streams: XADD with the position as id, so that Redis itself refuses a repetition.
 *
 *	  CONNECTING -> greeted (AUTH, SELECT, marks) -> send: waiting -> next -> flying
 *
 * Messages travel in transactions (MULTI ... EXEC), one at a time; while one is
 * on its way the next is being written, so it grows as large as the round trip
 * is long.  Why transactions, and not plain pipelining?  Redis may refuse one
 * command and take the next (memory that was short and is not any more, a
 * replica that became the master): a message behind it in the same stream would
 * take its place for good, since ids only rise.  A command that Redis does not
 * take makes EXEC refuse them all; nothing has happened then, and all are sent
 * again in their order, but for the one that cannot be taken.
 *
 * Within the transaction the lane's mark is written: see redis_entry.c.  Replays
 * get the id <top>-*; if the live flow moved the top meanwhile, they are all
 * refused, and are sent again in their order.  Their mark is written when they
 * are known to be there, so that a crash repeats the last transaction of a
 * replay, under the same position and replay number, rather than skipping it.
 *
 * Options: url, username, password, ca_file, cert_file, key_file, maxlen,
 * minid_positions, timeout_ms, connect_timeout_ms.  A user of Redis' ACL needs
 * the streams and the keys usher:relay:*, and the commands xadd, xrange, xinfo,
 * multi, exec, hset, hgetall, get and set.
 */
#include "sinks/redis.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WAITING_MAX   8192
#define PUMP_MESSAGES 256 /* so many are worth a look between polls */
#define TIMEOUT_MS    10000
#define LOOK_BACK     100000 /* positions that are examined again at the most, after a start */

/*
 * What this process knows of the lane that it serves: a peer that knows less has
 * lost something (a failover, an unsynced file).
 */
static struct
{
	char mark[sizeof(((RedisSink *) 0)->mark_key) + sizeof(((RedisSink *) 0)->mark_field)];
	int64_t epoch, executed;
} remembered;

static RedisSink no_memory; /* what open() returns when there is none */

/* ---- endings ---- */

static void
broken(RedisSink *s, UsherSinkResult result, const char *code, const char *text)
{
	if (s->broken == SINK_OK)
		s->broken = usher_sink_error(&s->base, result, code, "%s", text);
}

void
redis_lost(RedisSink *s, const char *code, const char *text)
{
	char where[512];

	snprintf(where, sizeof(where), "Redis at %s port %s: %s", s->link.host ? s->link.host : "?",
			 s->link.port ? s->link.port : "?", text);
	broken(s, SINK_LOST, code, where);
}

void
redis_blocked(RedisSink *s, const char *code, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	broken(s, SINK_BLOCKED, code, text);
}

/* A reply that ends the connection, unless it is about a message. */
void
redis_trouble_on(RedisSink *s, const char *what, const redisReply *reply)
{
	char code[32], text[400];

	if (reply->type != REDIS_REPLY_ERROR)
	{
		redis_lost(s, "PROTOCOL", "the peer does not speak Redis' protocol");
		return;
	}
	redis_error_code(reply->str, code, sizeof(code));
	snprintf(text, sizeof(text), "%s: %.300s", what, reply->str);
	if (redis_trouble(reply->str) == TROUBLE_SETUP || strcmp(code, "NOPERM") == 0)
		redis_blocked(s, code, "%s", text);
	else
		redis_lost(s, code, text);
}

/* ---- rings ---- */

/* The ring, with room for one more; NULL: no memory, and the old one is kept. */
void *
redis_ring_grow(void *ring, size_t element, size_t *first, size_t count, size_t *size)
{
	size_t new_size = *size ? *size * 2 : 64;
	char *bigger;

	if (count < *size)
		return ring;
	bigger = malloc(new_size * element);
	if (bigger == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
		memcpy(bigger + i * element, (char *) ring + (*first + i) % *size * element, element);
	free(ring);
	*first = 0;
	*size = new_size;
	return bigger;
}

bool
redis_expect(RedisSink *s, RedisExpectation kind, RedisTopic *topic, UsherMessage *message)
{
	RedisExpected *ring = redis_ring_grow(s->expected, sizeof(RedisExpected), &s->expected_first,
										  s->expected_count, &s->expected_size);

	if (ring == NULL)
		return false;
	s->expected = ring;
	if (s->expected_count == 0)
		s->link.heard_ms = usher_clock_ms();
	s->expected[(s->expected_first + s->expected_count++) % s->expected_size] = (RedisExpected){
		kind, topic, message};
	return true;
}

/* ---- replies ---- */

static void
greeting_answered(RedisSink *s, const redisReply *reply)
{
	char code[32];

	if (redis_link_greeted(&s->link, reply) > 0)
		return;
	redis_error_code(s->link.error, code, sizeof(code));
	redis_lost(s, reply->type == REDIS_REPLY_ERROR ? code : "PROTOCOL", s->link.error);
}

/* MULTI and an empty EXEC: may we use transactions? */
static void
probe_answered(RedisSink *s, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_STATUS && reply->type != REDIS_REPLY_ARRAY)
		redis_trouble_on(s, "MULTI", reply);
}

static void
marks_answered(RedisSink *s, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY && reply->type != REDIS_REPLY_STRING &&
		reply->type != REDIS_REPLY_NIL)
		redis_trouble_on(s, "reading usher:relay:*", reply);
	redis_mark_parse(s, reply);
	s->greeted = true;
}

/* True: that was the last reply to what is expected first. */
static bool
answered(RedisSink *s, const redisReply *reply)
{
	RedisExpected *e = &s->expected[s->expected_first];

	switch (e->kind)
	{
		case EXPECT_GREETING:
			greeting_answered(s, reply);
			return true;
		case EXPECT_PROBE:
			probe_answered(s, reply);
			return true;
		case EXPECT_MARKS:
			marks_answered(s, reply);
			return true;
		case EXPECT_TOPIC:
			redis_topic_answered(s, e->topic, reply);
			return true;
		case EXPECT_MARK:
			if (reply->type == REDIS_REPLY_ERROR)
				redis_trouble_on(s, "SET", reply);
			return true;
		case EXPECT_ENTRY:
			redis_check_entry(s, e->message, reply);
			return true;
		case EXPECT_TOP:
			redis_check_top(s, e->message, reply);
			return true;
		case EXPECT_TRANSACTION:
			break;
	}
	return redis_transaction_answered(s, reply);
}

static void
take_replies(RedisSink *s)
{
	while (s->broken == SINK_OK)
	{
		redisReply *reply;
		int got;

		if (s->expected_count > 0 && s->expected[s->expected_first].kind == EXPECT_TRANSACTION &&
			s->replies_seen > 0)
		{
			int last = s->flying.count + (s->flying.replay ? 1 : 2);

			s->replies_seen += redis_link_skip_queued(&s->link, last - s->replies_seen);
		}
		got = redis_link_reply(&s->link, &reply);
		if (got == 0)
			return;
		if (got < 0)
		{
			redis_lost(s, "PROTOCOL", s->link.error);
			return;
		}
		if (s->expected_count == 0)
			redis_lost(s, "PROTOCOL",
					   reply->type == REDIS_REPLY_ERROR ? reply->str
														: "a reply that nobody expects");
		else if (answered(s, reply))
		{
			s->expected_first = (s->expected_first + 1) % s->expected_size;
			s->expected_count--;
		}
		freeReplyObject(reply);
	}
}

/* ---- the functions of a sink ---- */

static void
greet(RedisSink *s)
{
	char name[128];
	const UsherSinkContext *c = s->base.context;
	bool ok = true;
	int n;

	snprintf(name, sizeof(name), "pg_usher/%.80s/%d", c->sink, c->lane);
	for (n = redis_link_greet(&s->link, name); n > 0; n--)
		ok = ok && redis_expect(s, EXPECT_GREETING, NULL, NULL);
	ok = ok && redis_link_send(&s->link, "MULTI", NULL) &&
		 redis_expect(s, EXPECT_PROBE, NULL, NULL) && redis_link_send(&s->link, "EXEC", NULL) &&
		 redis_expect(s, EXPECT_PROBE, NULL, NULL);
	ok = ok && redis_link_send(&s->link, c->replay ? "GET" : "HGETALL", s->mark_key, NULL) &&
		 redis_expect(s, EXPECT_MARKS, NULL, NULL);
	if (!ok)
		redis_lost(s, "MEMORY", "out of memory");
}

static void
connect_on(RedisSink *s)
{
	int result = redis_link_connect(&s->link);

	if (result < 0)
		redis_lost(s, "CONNECT", s->link.error);
	if (result <= 0)
		return;
	s->connected = true;
	greet(s);
}

static void
exchange(RedisSink *s)
{
	ssize_t n;

	do
	{
		/* Who closes the connection may have said why. */
		bool closed = redis_link_flush(&s->link) < 0;

		n = redis_link_fill(&s->link);
		take_replies(s);
		if (closed || n < 0)
			redis_lost(s, "CONNECTION", s->link.error);
		if (s->broken != SINK_OK)
			return;
		redis_pump(s);
	} while (n > 0);
	if (redis_link_flush(&s->link) < 0)
		redis_lost(s, "CONNECTION", s->link.error);
	if (s->expected_count > 0 && usher_clock_ms() - s->link.heard_ms > s->timeout_ms)
		redis_lost(s, "TIMEOUT", "no reply in time");
}

static UsherSinkResult
redis_poll(UsherSink *sink)
{
	RedisSink *s = (RedisSink *) sink;

	if (s->broken == SINK_OK && !s->connected)
		connect_on(s);
	if (s->broken == SINK_OK && s->connected)
		exchange(s);
	sink->fd = s->link.transport.fd;
	sink->want_write = s->link.transport.want_write || buffer_len(&s->link.out) > 0;
	return s->broken;
}

void
redis_remember(const RedisSink *s, int64_t executed)
{
	const UsherSinkContext *c = s->base.context;

	snprintf(remembered.mark, sizeof(remembered.mark), "%s/%s", s->mark_key, s->mark_field);
	remembered.epoch = c->epoch;
	remembered.executed = executed;
}

/*
 * A mark below the cursor: the peer has lost something if we know so, or it may
 * have and looking again costs little.
 */
static void
tell_position(RedisSink *s, int64_t *position)
{
	int64_t executed = s->mark.executed;
	bool known = false;
	char mark[sizeof(remembered.mark)];

	snprintf(mark, sizeof(mark), "%s/%s", s->mark_key, s->mark_field);
	if (strcmp(mark, remembered.mark) == 0 && remembered.epoch == s->base.context->epoch)
		known = executed < remembered.executed;
	if (executed < 0)
	{
		if (known)
			(void) usher_sink_error(&s->base, SINK_OK, "EMPTIED",
									"Redis has lost what this sink had written");
		return;
	}
	if (executed < *position && (known || *position - executed <= LOOK_BACK))
		*position = executed;
}

static UsherSinkResult
redis_ready(UsherSink *sink, int64_t *position)
{
	RedisSink *s = (RedisSink *) sink;

	if (s->broken != SINK_OK)
		return s->broken;
	if (!s->greeted)
		return SINK_FULL;
	if (!s->told && sink->context->replay == 0)
		tell_position(s, position);
	s->told = true;
	return SINK_OK;
}

static UsherSinkResult
redis_send(UsherSink *sink, UsherMessage *m)
{
	RedisSink *s = (RedisSink *) sink;
	RedisTopic *topic;

	if (s->broken != SINK_OK)
		return s->broken;
	if (!s->greeted)
		return SINK_FULL;
	if (s->waiting_count >= WAITING_MAX)
	{
		(void) redis_poll(sink);
		if (s->broken != SINK_OK || s->waiting_count >= WAITING_MAX)
			return s->broken != SINK_OK ? s->broken : SINK_FULL;
	}
	topic = redis_topic_get(s, m);
	if (topic == NULL && s->asking > 0)
		return SINK_FULL;
	if (topic == NULL || !redis_waiting_push(s, m) ||
		((topic->state == TOPIC_UNKNOWN || topic->state == TOPIC_REJECTED) &&
		 !redis_topic_ask(s, topic)))
		redis_lost(s, "MEMORY", "out of memory");
	else if (s->waiting_count >= PUMP_MESSAGES)
	{
		redis_pump(s);
		(void) redis_link_flush(&s->link); /* a failure shows in poll() as well */
	}
	return s->broken;
}

static void
redis_close(UsherSink *sink)
{
	RedisSink *s = (RedisSink *) sink;

	if (s == &no_memory)
		return;
	redis_link_close(&s->link);
	redis_topics_free(s);
	buffer_free(&s->next.buffer);
	buffer_free(&s->flying.buffer);
	free(s->next.messages);
	free(s->flying.messages);
	free(s->expected);
	free(s->waiting);
	free(s);
}

static UsherSink *
redis_open(const UsherSinkContext *context, int64_t *position, UsherSinkResult *result)
{
	RedisSink *s = calloc(1, sizeof(RedisSink));

	if (s == NULL)
	{
		s = &no_memory;
		memset(s, 0, sizeof(*s));
	}
	s->base.ops = &usher_sink_redis;
	s->base.context = context;
	s->base.fd = -1;
	s->structured = strcmp(usher_option(context, "", "mode", "binary"), "structured") == 0;
	s->maxlen = usher_option_int(context, "", "maxlen", 0);
	s->minid_positions = usher_option_int(context, "", "minid_positions", 0);
	s->timeout_ms = usher_option_int(context, "", "timeout_ms", TIMEOUT_MS);
	redis_mark_names(s, context);
	if (s == &no_memory)
	{
		redis_lost(s, "MEMORY", "out of memory");
		*result = s->broken;
		return &s->base;
	}
	s->next.messages = calloc(REDIS_CHUNK_MESSAGES, sizeof(UsherMessage *));
	s->flying.messages = calloc(REDIS_CHUNK_MESSAGES, sizeof(UsherMessage *));
	if (s->next.messages == NULL || s->flying.messages == NULL)
		redis_lost(s, "MEMORY", "out of memory");
	else if (!redis_link_open(&s->link, context))
	{
		if (strncmp(s->link.error, "the option", 10) == 0)
			redis_blocked(s, "CONFIG", "%s", s->link.error);
		else
			redis_lost(s, "CONNECT", s->link.error);
	}
	(void) position;
	*result = s->broken;
	s->base.fd = s->link.transport.fd;
	s->base.want_write = s->link.transport.want_write;
	return &s->base;
}

const UsherSinkOps usher_sink_redis = {
	.kind = "redis",
	.lane_by_topic = true,
	.open = redis_open,
	.ready = redis_ready,
	.send = redis_send,
	.poll = redis_poll,
	.close = redis_close,
	.verify = usher_redis_verify,
};
