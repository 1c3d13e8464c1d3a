/*
 * bgworkers/sinks/redis_send.c
 *	  Messages on their way into transactions: waiting -> next -> flying.
 *
 * Commands are written straight into the buffer that goes to the socket.
 */
#include "sinks/redis.h"

#include <inttypes.h>
#include <stdio.h>

#define CHUNK_BYTES      (512 * 1024)
#define REPLAY_MARK_SECS "604800"
#define NUMBER_LEN       24 /* room for $<length>\r\n */
#define MARK_PREFIX      "usher:relay:"

/* ---- the queue ---- */

static bool
waiting_grow(RedisSink *s)
{
	UsherMessage **ring = redis_ring_grow(s->waiting, sizeof(UsherMessage *), &s->waiting_first,
										  s->waiting_count, &s->waiting_size);

	if (ring == NULL)
		return false;
	s->waiting = ring;
	return true;
}

bool
redis_waiting_push(RedisSink *s, UsherMessage *m)
{
	if (!waiting_grow(s))
		return false;
	s->waiting[(s->waiting_first + s->waiting_count++) % s->waiting_size] = m;
	return true;
}

static void
waiting_pop(RedisSink *s)
{
	s->waiting_first = (s->waiting_first + 1) % s->waiting_size;
	s->waiting_count--;
}

void
redis_waiting_return(RedisSink *s, UsherMessage **messages, int count)
{
	while (count-- > 0)
	{
		if (!waiting_grow(s))
		{
			redis_lost(s, "MEMORY", "out of memory");
			return;
		}
		s->waiting_first = (s->waiting_first + s->waiting_size - 1) % s->waiting_size;
		s->waiting[s->waiting_first] = messages[count];
		s->waiting_count++;
	}
}

/* ---- making transactions ---- */

static inline char *
put_digits(char *p, uint64_t n)
{
	char digits[20];
	int i = sizeof(digits);

	do
		digits[--i] = (char) ('0' + n % 10);
	while ((n /= 10) > 0);
	memcpy(p, digits + i, sizeof(digits) - (size_t) i);
	return p + sizeof(digits) - (size_t) i;
}

static inline char *
put_number(char *p, char sign, size_t n)
{
	*p++ = sign;
	p = put_digits(p, n);
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

static inline char *
put_word(char *p, const char *bytes, size_t len)
{
	p = put_number(p, '$', len);
	memcpy(p, bytes, len);
	p += len;
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

#define put_literal(p, text) put_word(p, text, sizeof(text) - 1)

static char *
put_trimming(char *p, const RedisSink *s, const UsherMessage *m)
{
	int64_t oldest = m->position - s->minid_positions;
	char number[24];

	if (s->maxlen > 0)
		p = put_literal(p, "MAXLEN");
	else
		p = put_literal(p, "MINID");
	p = put_literal(p, "~");
	if (s->maxlen > 0)
		oldest = s->maxlen;
	return put_word(p, number, (size_t) (put_digits(number, oldest > 0 ? oldest : 0) - number));
}

static bool
has_attribute(const UsherMessage *m, const char *name, const UsherAttribute **found)
{
	for (int i = 0; i < m->nattributes; i++)
		if (strcmp(m->attributes[i].name, name) == 0)
		{
			*found = &m->attributes[i];
			return true;
		}
	return false;
}

static size_t
message_size_max(const UsherMessage *m)
{
	size_t size = 256 + m->topic_len + m->body_len + 2 * NUMBER_LEN;

	for (int i = 0; i < m->nattributes; i++)
		size += strlen(m->attributes[i].name) + m->attributes[i].len + 2 * NUMBER_LEN;
	return size;
}

static char *
put_fields(char *p, const RedisSink *s, const UsherMessage *m, int nfields)
{
	const UsherAttribute *replay;

	if (!s->structured)
	{
		for (int i = 0; i < m->nattributes; i++)
		{
			const UsherAttribute *a = &m->attributes[i];

			p = put_word(p, a->name, strlen(a->name));
			p = put_word(p, a->value, a->len);
		}
		if (m->body == NULL)
			return p;
		p = put_literal(p, "data");
		return put_word(p, m->body, m->body_len);
	}
	p = put_literal(p, "event");
	p = put_word(p, m->body ? m->body : "", m->body ? m->body_len : 0);
	if (nfields > 1 && has_attribute(m, "replay", &replay))
	{
		p = put_literal(p, "replay");
		p = put_word(p, replay->value, replay->len);
	}
	return p;
}

/* XADD topic [MAXLEN ~ n | MINID ~ id] id field value ... */
static bool
put_message(RedisSink *s, UsherBuffer *b, const UsherMessage *m, const RedisTopic *topic)
{
	bool trims = m->replay == 0 && (s->maxlen > 0 || s->minid_positions > 0);
	const UsherAttribute *replay;
	char id[32], *p, *id_end;
	int nfields;

	if (s->structured)
		nfields = 1 + (m->replay != 0 && has_attribute(m, "replay", &replay));
	else
		nfields = m->nattributes + (m->body != NULL);
	if (!buffer_reserve(b, message_size_max(m)))
		return false;
	p = b->data + b->end;
	p = put_number(p, '*', 3 + (trims ? 3 : 0) + 2 * (size_t) nfields);
	p = put_literal(p, "XADD");
	p = put_word(p, m->topic, m->topic_len);
	if (trims)
		p = put_trimming(p, s, m);
	id_end = put_digits(id, m->replay != 0 ? topic->top.ms : (uint64_t) m->position);
	memcpy(id_end, m->replay != 0 ? "-*" : "-0", 2);
	p = put_word(p, id, (size_t) (id_end + 2 - id));
	p = put_fields(p, s, m, nfields);
	b->end = (size_t) (p - b->data);
	return true;
}

static bool
topic_may_be_written(const UsherMessage *m)
{
	return m->topic_len > 0 && strncmp(m->topic, MARK_PREFIX, sizeof(MARK_PREFIX) - 1) != 0;
}

/* The oldest message that waits: true when it is settled, false when it must go on waiting. */
static bool
settle_waiting(RedisSink *s, UsherMessage *m)
{
	RedisChunk *next = &s->next;
	RedisTopic *topic;

	if (!topic_may_be_written(m))
	{
		usher_message_rejected(m, -1, "INVALID_TOPIC",
							   "a stream's name must not be empty or begin with " MARK_PREFIX);
		return true;
	}
	if (m->replay != 0 && m->position <= s->mark.executed)
	{
		s->base.duplicates++;
		usher_message_done(m);
		return true;
	}
	topic = redis_topic_get(s, m);
	if (topic == NULL || topic->state == TOPIC_ASKED)
		return false;
	if (topic->state == TOPIC_UNKNOWN)
	{
		if (!redis_topic_ask(s, topic))
			redis_lost(s, "MEMORY", "out of memory");
		return false;
	}
	if (topic->state == TOPIC_REJECTED)
	{
		usher_message_rejected(m, -1, topic->code, topic->text ? topic->text : topic->code);
		return true;
	}
	if (next->count > 0 &&
		(next->count >= REDIS_CHUNK_MESSAGES || next->replay != (m->replay != 0) ||
		 buffer_len(&next->buffer) + message_size_max(m) > CHUNK_BYTES))
		return false;
	if ((next->count == 0 && !buffer_add(&next->buffer, "*1\r\n$5\r\nMULTI\r\n",
										 sizeof("*1\r\n$5\r\nMULTI\r\n") - 1)) ||
		!put_message(s, &next->buffer, m, topic))
	{
		redis_lost(s, "MEMORY", "out of memory");
		return false;
	}
	next->replay = m->replay != 0;
	next->messages[next->count++] = m;
	return true;
}

static void
fill_next(RedisSink *s)
{
	while (s->waiting_count > 0 && s->broken == SINK_OK)
	{
		if (!settle_waiting(s, s->waiting[s->waiting_first]))
			return;
		waiting_pop(s);
	}
}

int64_t
redis_chunk_highest(const RedisChunk *chunk)
{
	int64_t highest = 0;

	for (int i = 0; i < chunk->count; i++)
		if (chunk->messages[i]->position > highest)
			highest = chunk->messages[i]->position;
	return highest;
}

bool
redis_put_mark(RedisSink *s, UsherBuffer *b, int64_t executed)
{
	char text[96], *p;

	redis_mark_text(s, executed, text, sizeof(text));
	if (!buffer_reserve(b, sizeof(s->mark_key) + sizeof(s->mark_field) + sizeof(text) + 256))
		return false;
	p = b->data + b->end;
	if (s->base.context->replay != 0)
	{
		p = put_number(p, '*', 5);
		p = put_literal(p, "SET");
		p = put_word(p, s->mark_key, strlen(s->mark_key));
		p = put_word(p, text, strlen(text));
		p = put_literal(p, "EX");
		p = put_literal(p, REPLAY_MARK_SECS);
	}
	else
	{
		p = put_number(p, '*', 4);
		p = put_literal(p, "HSET");
		p = put_word(p, s->mark_key, strlen(s->mark_key));
		p = put_word(p, s->mark_field, strlen(s->mark_field));
		p = put_word(p, text, strlen(text));
	}
	b->end = (size_t) (p - b->data);
	return true;
}

/* The transaction that has been made goes on its way. */
static bool
ship(RedisSink *s)
{
	RedisChunk made = s->next;
	bool ok = true;

	s->next = s->flying;
	s->flying = made;
	s->in_flight = true;
	s->replies_seen = 0;
	s->refused_at = -1;
	if (!made.replay)
		ok = redis_put_mark(s, &s->flying.buffer, redis_chunk_highest(&made));
	ok = ok &&
		 buffer_add(&s->flying.buffer, "*1\r\n$4\r\nEXEC\r\n", sizeof("*1\r\n$4\r\nEXEC\r\n") - 1);
	if (ok && buffer_len(&s->link.out) == 0)
		buffer_swap(&s->link.out, &s->flying.buffer);
	else if (ok)
	{
		UsherBuffer *b = &s->flying.buffer;

		ok = buffer_add(&s->link.out, b->data + b->begin, buffer_len(b));
		buffer_consume(b, buffer_len(b));
	}
	return ok && redis_expect(s, EXPECT_TRANSACTION, NULL, NULL);
}

/* Make what can be made, and send it unless one is on its way. */
void
redis_pump(RedisSink *s)
{
	fill_next(s);
	if (s->broken == SINK_OK && !s->in_flight && s->checks == 0 && s->next.count > 0)
	{
		if (!ship(s))
			redis_lost(s, "MEMORY", "out of memory");
		fill_next(s);
	}
}
