/*
 * bgworkers/sinks/redis.h
 *	  Redis Streams: what the files of this sink share.
 *
 *	  redis.c         the sink: life, replies
 *	  redis_send.c    messages on their way into transactions
 *	  redis_transaction.c  what Redis said to one
 *	  redis_topic.c   what is known of each stream; refused ids
 *	  redis_entry.c   entries and marks, as they lie in Redis
 *	  redis_verify.c  reading back
 *	  redis_link.c    the connection
 */
#ifndef USHER_REDIS_H
#define USHER_REDIS_H

#include "sinks/redis_link.h"

#define REDIS_CHUNK_MESSAGES 2000 /* in a transaction, at the most */

typedef struct RedisId
{
	uint64_t ms, seq;
} RedisId;

typedef enum RedisTopicState
{
	TOPIC_UNKNOWN,
	TOPIC_ASKED,
	TOPIC_KNOWN,
	TOPIC_REJECTED /* it cannot be written, and why stands in code and text */
} RedisTopicState;

typedef struct RedisTopic
{
	char *name;
	size_t len;
	uint64_t hash;
	RedisTopicState state;
	RedisId top; /* its last id, as we read it; 0-0: it has none */
	char code[24];
	char *text;
} RedisTopic;

typedef enum RedisExpectation
{
	EXPECT_GREETING,
	EXPECT_PROBE,
	EXPECT_MARKS,
	EXPECT_TOPIC,
	EXPECT_TRANSACTION,
	EXPECT_MARK,
	EXPECT_ENTRY, /* the entry that may have caused a refusal */
	EXPECT_TOP /* the stream's top, for the text that tells of a refusal */
} RedisExpectation;

typedef struct RedisExpected
{
	RedisExpectation kind;
	RedisTopic *topic;
	UsherMessage *message;
} RedisExpected;

/* A transaction: being made, or on its way. */
typedef struct RedisChunk
{
	UsherBuffer buffer;
	UsherMessage **messages;
	int count;
	bool replay; /* all of them are replays, or none is */
} RedisChunk;

/* What earlier transactions of this sink have left in Redis. */
typedef struct RedisMark
{
	int64_t executed; /* up to here, in this epoch; -1: unknown */
	int64_t ever; /* up to here, in any epoch; -1: never */
} RedisMark;

typedef struct RedisSink
{
	UsherSink base;
	RedisLink link;
	bool connected, greeted, told; /* told: ready() has said what it knows of the position */
	UsherSinkResult broken; /* not SINK_OK: nothing goes on */

	bool structured;
	int64_t maxlen, minid_positions, timeout_ms;
	char mark_key[160], mark_field[64];
	RedisMark mark;

	RedisExpected *expected; /* a ring: replies that are to come, in order */
	size_t expected_first, expected_count, expected_size;

	UsherMessage **waiting; /* a ring: accepted, not in a chunk yet */
	size_t waiting_first, waiting_count, waiting_size;

	RedisChunk next, flying;
	bool in_flight; /* flying is on its way */
	int replies_seen; /* of its transaction */
	int refused_at; /* the first command that was not queued, -1: none */
	char refused_why[300];
	int checks; /* refused messages that are being looked into */

	RedisTopic **topics; /* open hashing */
	size_t topics_count, topics_size;
	int asking; /* topics that are asked for */
} RedisSink;

/* redis.c */
extern bool
redis_expect(RedisSink *s, RedisExpectation kind, RedisTopic *topic, UsherMessage *message);
extern void redis_lost(RedisSink *s, const char *code, const char *text);
extern void redis_blocked(RedisSink *s, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern void redis_trouble_on(RedisSink *s, const char *what, const redisReply *reply);

extern void *redis_ring_grow(void *ring, size_t element, size_t *first, size_t count, size_t *size);
extern void redis_remember(const RedisSink *s, int64_t executed);

/* redis_send.c */
extern bool redis_waiting_push(RedisSink *s, UsherMessage *message);
/* Back to the front, in their order. */
extern void redis_waiting_return(RedisSink *s, UsherMessage **messages, int count);
extern void redis_pump(RedisSink *s);
extern bool redis_put_mark(RedisSink *s, UsherBuffer *b, int64_t executed);
extern int64_t redis_chunk_highest(const RedisChunk *chunk);

/* redis_transaction.c */
/* True: that was the last reply to it. */
extern bool redis_transaction_answered(RedisSink *s, const redisReply *reply);

/* redis_topic.c */
extern RedisTopic *redis_topic_get(RedisSink *s, const UsherMessage *message);
extern bool redis_topic_ask(RedisSink *s, RedisTopic *topic);
extern void redis_topic_answered(RedisSink *s, RedisTopic *topic, const redisReply *reply);
extern void redis_topics_free(RedisSink *s);
extern void redis_check(RedisSink *s, UsherMessage *message);
extern void redis_check_entry(RedisSink *s, UsherMessage *message, const redisReply *reply);
extern void redis_check_top(RedisSink *s, UsherMessage *message, const redisReply *reply);

/* redis_entry.c */
typedef struct RedisEntry
{
	RedisId id;
	const redisReply *fields; /* name, value, name, value, ... */
} RedisEntry;

typedef struct RedisStreamInfo
{
	RedisId last;
	int64_t length, added; /* added: -1 before Redis 7 */
	RedisEntry first_entry, last_entry; /* fields NULL: none */
} RedisStreamInfo;

extern bool redis_id_parse(const redisReply *reply, RedisId *id);
extern bool redis_entry_parse(const redisReply *reply, RedisEntry *entry);
extern bool redis_info_parse(const redisReply *reply, RedisStreamInfo *info);
/* An attribute of the event in an entry; returns its length, -1: it has none. */
extern long
redis_entry_attribute(const RedisEntry *entry, const char *name, char *out, size_t size);
extern bool redis_entry_position(const RedisEntry *entry, int64_t *position, bool *replay);
extern bool redis_entry_is(const RedisEntry *entry, const UsherMessage *message);
extern void redis_mark_names(RedisSink *s, const UsherSinkContext *context);
extern void redis_mark_parse(RedisSink *s, const redisReply *reply);
extern void redis_mark_text(const RedisSink *s, int64_t executed, char *out, size_t size);

/* redis_verify.c */
extern bool usher_redis_verify(const UsherSinkContext *context, UsherVerifier *verifier,
							   char *error, size_t error_size);

#endif /* USHER_REDIS_H */
