/*
 * bgworkers/sinks/redis_transaction.c
 *	  What Redis said to a transaction: done, refused, rejected, once more.
 */
#include "sinks/redis.h"

#include <stdio.h>

/*
 * These go back, and with them those that would have come after: their ids may
 * have to be others now.
 */
static void
send_again(RedisSink *s, UsherMessage **messages, int count)
{
	redis_waiting_return(s, s->next.messages, s->next.count);
	s->next.count = 0;
	buffer_consume(&s->next.buffer, buffer_len(&s->next.buffer));
	redis_waiting_return(s, messages, count);
	s->base.retried += count;
	for (int i = 0; i < count; i++)
		messages[i]->attempts++;
}

static void
reject(UsherMessage *m, const char *error)
{
	char code[32];

	redis_error_code(error, code, sizeof(code));
	usher_message_rejected(m, -1, code, error);
}

/* EXEC refused them all, because a command could not be queued. */
static void
transaction_refused(RedisSink *s, const redisReply *reply)
{
	RedisChunk *chunk = &s->flying;
	redisReply why = *reply;

	if (s->refused_at >= 0)
		why.str = s->refused_why;
	if (redis_trouble(why.str) != TROUBLE_MESSAGE || s->refused_at < 1 ||
		s->refused_at > chunk->count)
	{
		redis_trouble_on(s, s->refused_at > chunk->count ? "writing usher:relay:*" : "XADD", &why);
		return;
	}
	reject(chunk->messages[s->refused_at - 1], why.str);
	for (int i = s->refused_at; i < chunk->count; i++)
		chunk->messages[i - 1] = chunk->messages[i];
	send_again(s, chunk->messages, chunk->count - 1);
}

static void
message_answered(RedisSink *s, UsherMessage *m, const redisReply *reply, int *again)
{
	if (reply->type == REDIS_REPLY_STRING)
		usher_message_done(m);
	else if (reply->type != REDIS_REPLY_ERROR)
		redis_lost(s, "PROTOCOL", "the peer does not speak Redis' protocol");
	else
		switch (redis_trouble(reply->str))
		{
			case TROUBLE_REFUSED:
				if (m->replay == 0)
					redis_check(s, m);
				else
					s->flying.messages[(*again)++] = m;
				break;
			case TROUBLE_MESSAGE:
				reject(m, reply->str);
				break;
			case TROUBLE_SETUP:
			case TROUBLE_AWAY:
				redis_trouble_on(s, "XADD", reply);
		}
}

/* Replays that were refused: the top has moved. */
static void
replays_again(RedisSink *s, int count)
{
	for (int i = 0; i < count; i++)
	{
		RedisTopic *topic = redis_topic_get(s, s->flying.messages[i]);

		if (topic && topic->state != TOPIC_ASKED)
			topic->state = TOPIC_UNKNOWN;
	}
	send_again(s, s->flying.messages, count);
}

static void
transaction_executed(RedisSink *s, const redisReply *reply)
{
	RedisChunk *chunk = &s->flying;
	int64_t highest = redis_chunk_highest(chunk);
	int again = 0;

	if (reply->elements != (size_t) chunk->count + (chunk->replay ? 0 : 1))
	{
		redis_lost(s, "PROTOCOL", "the peer does not speak Redis' protocol");
		return;
	}
	for (int i = 0; i < chunk->count && s->broken == SINK_OK; i++)
		message_answered(s, chunk->messages[i], reply->element[i], &again);
	if (s->broken != SINK_OK)
		return;
	if (!chunk->replay && reply->element[chunk->count]->type == REDIS_REPLY_ERROR)
		redis_trouble_on(s, "HSET", reply->element[chunk->count]);
	else if (again > 0)
		replays_again(s, again);
	else if (!chunk->replay)
		redis_remember(s, highest);
	else if (!redis_put_mark(s, &s->link.out, highest) || !redis_expect(s, EXPECT_MARK, NULL, NULL))
		redis_lost(s, "MEMORY", "out of memory");
}

/* Replies to MULTI, to each command, and to EXEC. */
bool
redis_transaction_answered(RedisSink *s, const redisReply *reply)
{
	int last = s->flying.count + (s->flying.replay ? 1 : 2);
	int at = s->replies_seen++;

	if (at < last)
	{
		if (reply->type == REDIS_REPLY_ERROR && s->refused_at < 0)
		{
			s->refused_at = at;
			snprintf(s->refused_why, sizeof(s->refused_why), "%s", reply->str);
		}
		else if (reply->type != REDIS_REPLY_ERROR && reply->type != REDIS_REPLY_STATUS)
			redis_lost(s, "PROTOCOL", "the peer does not speak Redis' protocol");
		return false;
	}
	s->in_flight = false;
	if (reply->type == REDIS_REPLY_ERROR)
		transaction_refused(s, reply);
	else if (reply->type == REDIS_REPLY_ARRAY && s->refused_at < 0)
		transaction_executed(s, reply);
	else
		redis_lost(s, "PROTOCOL", "the peer does not speak Redis' protocol");
	s->flying.count = 0;
	return true;
}
