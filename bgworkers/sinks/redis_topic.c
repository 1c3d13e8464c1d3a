/*
 * bgworkers/sinks/redis_topic.c
 *	  What is known of each stream, and what to think of an id that Redis refuses.
 *
 * Before the first message goes to a stream its top is read (XINFO STREAM).  A
 * stream whose newest entry is not ours is somebody else's: blocked, before
 * anything is written.
 *
 * XADD refuses an id that is not above the top.  The entry with our position
 * and the same event is there: it came through before, a duplicate.  An entry of
 * another event: blocked.  No entry: it was there and has been trimmed or deleted
 * by a consumer, if (a) a transaction with its position has been executed
 * before (the mark), and (b) the top, as it was before we wrote, is ours: its
 * position is not above what we have executed.  Anything else would be a silent
 * loss, so it is blocked.  Why (a) and (b) are enough: transactions are executed
 * whole or not at all, one after the other, in the order of positions; in one
 * that was executed an id of ours is only refused because of a foreign top, and
 * that one is still there.
 */
#include "sinks/redis.h"

#include <inttypes.h>
#include <stdio.h>

#define TOPICS_MAX  65536 /* then all are forgotten, and asked for again */
#define TOPICS_SIZE 131072

static uint64_t
hash_of(const char *name, size_t len)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) name[i]) * UINT64_C(1099511628211);
	return hash;
}

static void
topic_free(RedisTopic *topic)
{
	free(topic->name);
	free(topic->text);
	free(topic);
}

static void
topics_forget(RedisSink *s)
{
	for (size_t i = 0; s->topics && i < s->topics_size; i++)
		if (s->topics[i])
		{
			topic_free(s->topics[i]);
			s->topics[i] = NULL;
		}
	s->topics_count = 0;
}

void
redis_topics_free(RedisSink *s)
{
	topics_forget(s);
	free(s->topics);
	s->topics = NULL;
}

static RedisTopic *
topic_make(const UsherMessage *m, uint64_t hash)
{
	RedisTopic *topic = calloc(1, sizeof(RedisTopic));

	if (topic == NULL || (topic->name = malloc(m->topic_len + 1)) == NULL)
	{
		free(topic);
		return NULL;
	}
	memcpy(topic->name, m->topic, m->topic_len);
	topic->name[m->topic_len] = '\0';
	topic->len = m->topic_len;
	topic->hash = hash;
	return topic;
}

/* As long as earlier transactions are gone through once more, their tops are needed. */
static size_t
topics_max(const RedisSink *s, const UsherMessage *m)
{
	return m->position > s->mark.ever ? TOPICS_MAX : TOPICS_SIZE - 1;
}

/* NULL: there are too many, and some are being asked for; or no memory. */
RedisTopic *
redis_topic_get(RedisSink *s, const UsherMessage *m)
{
	uint64_t hash = hash_of(m->topic, m->topic_len);
	size_t at;

	if (s->topics == NULL)
	{
		s->topics = calloc(TOPICS_SIZE, sizeof(RedisTopic *));
		if (s->topics == NULL)
			return NULL;
		s->topics_size = TOPICS_SIZE;
	}
	for (at = hash % s->topics_size; s->topics[at]; at = (at + 1) % s->topics_size)
	{
		RedisTopic *topic = s->topics[at];

		if (topic->hash == hash && topic->len == m->topic_len &&
			memcmp(topic->name, m->topic, m->topic_len) == 0)
			return topic;
	}
	if (s->topics_count >= topics_max(s, m))
	{
		if (s->asking > 0)
			return NULL;
		topics_forget(s);
		at = hash % s->topics_size;
	}
	s->topics[at] = topic_make(m, hash);
	s->topics_count += s->topics[at] != NULL;
	return s->topics[at];
}

static bool
ask_info(RedisSink *s, const char *name, size_t len)
{
	const char *words[] = {"XINFO", "STREAM", name};
	size_t lens[] = {5, 6, len};

	return redis_link_command(&s->link, 3, words, lens);
}

bool
redis_topic_ask(RedisSink *s, RedisTopic *topic)
{
	topic->state = TOPIC_ASKED;
	s->asking++;
	return ask_info(s, topic->name, topic->len) && redis_expect(s, EXPECT_TOPIC, topic, NULL);
}

static void
topic_rejected(RedisTopic *topic, const char *error)
{
	topic->state = TOPIC_REJECTED;
	redis_error_code(error, topic->code, sizeof(topic->code));
	free(topic->text);
	topic->text = strdup(error);
}

void
redis_topic_answered(RedisSink *s, RedisTopic *topic, const redisReply *reply)
{
	RedisStreamInfo info;
	int64_t position;
	bool replay;

	s->asking--;
	topic->top = (RedisId){0, 0};
	topic->state = TOPIC_KNOWN;
	if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "ERR no such key", 15) == 0)
		return;
	if (reply->type == REDIS_REPLY_ERROR && redis_trouble(reply->str) == TROUBLE_MESSAGE)
	{
		topic_rejected(topic, reply->str);
		return;
	}
	if (!redis_info_parse(reply, &info))
	{
		redis_trouble_on(s, "XINFO STREAM", reply);
		return;
	}
	topic->top = info.last;
	if (info.last_entry.fields && !redis_entry_position(&info.last_entry, &position, &replay))
		redis_blocked(s, "FOREIGN_ENTRY",
					  "stream \"%.100s\" is somebody else's: its newest entry, %" PRIu64 "-%" PRIu64
					  ", is none of ours; give this sink a stream of its own, or remove the entry",
					  topic->name, info.last_entry.id.ms, info.last_entry.id.seq);
}

/* ---- refused ids ---- */

/* Redis refused the message's id: what is there? */
void
redis_check(RedisSink *s, UsherMessage *m)
{
	char id[32];
	const char *words[] = {"XRANGE", m->topic, id, id};
	size_t lens[] = {6, m->topic_len, 0, 0};

	lens[2] = lens[3] = (size_t) snprintf(id, sizeof(id), "%" PRId64 "-0", m->position);
	s->checks++;
	if (!redis_link_command(&s->link, 4, words, lens) || !redis_expect(s, EXPECT_ENTRY, NULL, m))
		redis_lost(s, "MEMORY", "out of memory");
}

static void
check_done(RedisSink *s, UsherMessage *m)
{
	s->checks--;
	s->base.duplicates++;
	usher_message_done(m);
}

static bool
was_executed(RedisSink *s, const UsherMessage *m)
{
	const RedisTopic *topic = redis_topic_get(s, m);

	return m->position <= s->mark.ever && topic && topic->state == TOPIC_KNOWN &&
		   topic->top.ms <= (uint64_t) s->mark.ever;
}

void
redis_check_entry(RedisSink *s, UsherMessage *m, const redisReply *reply)
{
	RedisEntry entry;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements > 1)
		redis_trouble_on(s, "XRANGE", reply);
	else if (reply->elements == 0 && was_executed(s, m))
		check_done(s, m);
	else if (reply->elements == 0)
	{
		if (!ask_info(s, m->topic, m->topic_len) || !redis_expect(s, EXPECT_TOP, NULL, m))
			redis_lost(s, "MEMORY", "out of memory");
	}
	else if (!redis_entry_parse(reply->element[0], &entry))
		redis_lost(s, "PROTOCOL", "the peer does not speak Redis' protocol");
	else if (redis_entry_is(&entry, m))
		check_done(s, m);
	else
		redis_blocked(s, "FOREIGN_ENTRY",
					  "stream \"%.100s\" has another event at our position %" PRId64
					  ": it belongs to another log, or to one that was made anew; give this sink a "
					  "stream of its own, or remove the stream",
					  m->topic, m->position);
}

void
redis_check_top(RedisSink *s, UsherMessage *m, const redisReply *reply)
{
	RedisStreamInfo info;

	if (!redis_info_parse(reply, &info))
		redis_trouble_on(s, "XINFO STREAM", reply);
	else
		redis_blocked(s, "FOREIGN_ENTRY",
					  "stream \"%.100s\" refuses our position %" PRId64
					  ", since its top is %" PRIu64 "-%" PRIu64
					  " and not ours; give this sink a stream of its own, or remove what others "
					  "have added and lower its top with XSETID",
					  m->topic, m->position, info.last.ms, info.last.seq);
}
