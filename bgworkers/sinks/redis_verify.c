/*
 * bgworkers/sinks/redis_verify.c
 *	  Reading Redis Streams back, page by page, with a connection of its own.
 */
#include "sinks/redis.h"

#include <inttypes.h>
#include <stdio.h>

#define PAGE_FIRST 100 /* entries */
#define PAGE_MAX   2000
#define PAGE_BYTES (4 * 1024 * 1024) /* a page with more makes the next one smaller */
#define KEY_MAX    (64 * 1024)

typedef struct Reader
{
	RedisLink link;
	UsherVerifier *v;
	bool trims; /* the sink has been told to remove old entries */
	char *key;
	char *error;
	size_t error_size;
} Reader;

static bool
failed(Reader *r, const char *what, const char *why)
{
	snprintf(r->error, r->error_size, "%s%s%s", what, why[0] ? ": " : "", why);
	return false;
}

static bool
connect_waiting(Reader *r)
{
	int result;

	while ((result = redis_link_connect(&r->link)) == 0)
		usher_transport_wait(&r->link.transport, false, 50);
	return result > 0 || failed(r, "cannot connect to Redis", r->link.error);
}

/* The next reply, waiting for it; NULL: failed. */
static redisReply *
reply_waiting(Reader *r)
{
	RedisLink *link = &r->link;
	redisReply *reply = NULL;

	link->heard_ms = usher_clock_ms();
	for (;;)
	{
		int got;
		ssize_t n;

		if (redis_link_flush(link) < 0)
			break;
		got = redis_link_reply(link, &reply);
		if (got > 0)
			return reply;
		if (got < 0 || (n = redis_link_fill(link)) < 0)
			break;
		if (n > 0)
			continue;
		if (usher_clock_ms() - link->heard_ms > r->v->timeout_ms)
		{
			(void) failed(r, "Redis does not answer", "");
			return NULL;
		}
		usher_transport_wait(&link->transport, buffer_len(&link->out) > 0, 100);
	}
	(void) failed(r, "Redis", link->error);
	return NULL;
}

static bool
greet_waiting(Reader *r)
{
	for (int n = redis_link_greet(&r->link, "pg_usher/verify"); n > 0; n--)
	{
		redisReply *reply = reply_waiting(r);
		bool ok = reply &&
				  (redis_link_greeted(&r->link, reply) > 0 || failed(r, "Redis", r->link.error));

		freeReplyObject(reply);
		if (!ok)
			return false;
	}
	return true;
}

/* A reply that is not what was asked for. */
static bool
unexpected(Reader *r, const char *what, const redisReply *reply)
{
	return failed(r, what, reply->type == REDIS_REPLY_ERROR ? reply->str : "an unexpected reply");
}

static bool
tell_oldest(Reader *r, const char *topic, const RedisStreamInfo *info)
{
	bool lost = info->added >= 0 ? info->added > info->length : r->trims;
	int64_t oldest = 0;

	if (lost)
		oldest = (int64_t) (info->first_entry.fields ? info->first_entry.id.ms : info->last.ms + 1);
	r->v->oldest(r->v, topic, -1, oldest);
	return true;
}

static bool
read_info(Reader *r, const char *topic)
{
	RedisStreamInfo info = {0};
	redisReply *reply;
	bool ok;

	if (!redis_link_send(&r->link, "XINFO", "STREAM", topic, NULL))
		return failed(r, "out of memory", "");
	if ((reply = reply_waiting(r)) == NULL)
		return false;
	if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "ERR no such key", 15) == 0)
		ok = tell_oldest(r, topic, &info);
	else if (redis_info_parse(reply, &info))
		ok = tell_oldest(r, topic, &info);
	else
		ok = unexpected(r, topic, reply);
	freeReplyObject(reply);
	return ok;
}

/* False: the verifier has seen enough. */
static bool
tell_entry(Reader *r, const char *topic, const RedisEntry *entry)
{
	UsherVerifier *v = r->v;
	int64_t position;
	bool replay;
	long key_len;

	if (!redis_entry_position(entry, &position, &replay) || position < v->from || position > v->to)
		return true;
	key_len = redis_entry_attribute(entry, "partitionkey", r->key, KEY_MAX);
	if (key_len > KEY_MAX)
		key_len = KEY_MAX;
	return v->seen(v, topic, -1, key_len < 0 ? NULL : r->key, key_len < 0 ? 0 : (size_t) key_len,
				   position, replay);
}

/* The entries of a page; *next: where the next one begins.  False: stop, or failed. */
static bool
take_page(Reader *r, const char *topic, const redisReply *reply, RedisId *next, size_t *bytes)
{
	*bytes = 0;
	if (reply->type != REDIS_REPLY_ARRAY)
		return unexpected(r, topic, reply);
	for (size_t i = 0; i < reply->elements; i++)
	{
		RedisEntry entry;

		if (!redis_entry_parse(reply->element[i], &entry))
			return unexpected(r, topic, reply);
		for (size_t f = 0; f < entry.fields->elements; f++)
			*bytes += entry.fields->element[f]->len;
		if (!tell_entry(r, topic, &entry))
			return false;
		*next = (RedisId){entry.id.ms + (entry.id.seq == UINT64_MAX), entry.id.seq + 1};
	}
	return true;
}

static bool
read_entries(Reader *r, const char *topic)
{
	RedisId next = {(uint64_t) (r->v->from > 0 ? r->v->from : 0), 0};
	size_t count = PAGE_FIRST;

	while (next.ms <= (uint64_t) r->v->to)
	{
		char from[48], to[24], limit[24];
		redisReply *reply;
		size_t bytes, got;
		bool ok;

		snprintf(from, sizeof(from), "%" PRIu64 "-%" PRIu64, next.ms, next.seq);
		snprintf(to, sizeof(to), "%" PRId64, r->v->to);
		snprintf(limit, sizeof(limit), "%zu", count);
		if (!redis_link_send(&r->link, "XRANGE", topic, from, to, "COUNT", limit, NULL))
			return failed(r, "out of memory", "");
		if ((reply = reply_waiting(r)) == NULL)
			return false;
		ok = take_page(r, topic, reply, &next, &bytes);
		got = reply->elements;
		freeReplyObject(reply);
		if (!ok)
			return false;
		if (got < count)
			break;
		if (bytes > PAGE_BYTES)
			count = count > 1 ? count / 2 : 1;
		else if (bytes < PAGE_BYTES / 4 && count < PAGE_MAX)
			count *= 2;
	}
	return true;
}

bool
usher_redis_verify(const UsherSinkContext *context, UsherVerifier *v, char *error,
				   size_t error_size)
{
	Reader r = {.v = v, .error = error, .error_size = error_size};
	bool ok;

	error[0] = '\0';
	r.trims = usher_option_int(context, "", "maxlen", 0) > 0 ||
			  usher_option_int(context, "", "minid_positions", 0) > 0;
	r.key = malloc(KEY_MAX);
	if (r.key == NULL)
		return failed(&r, "out of memory", "");
	ok = redis_link_open(&r.link, context) || failed(&r, "Redis", r.link.error);
	ok = ok && connect_waiting(&r) && greet_waiting(&r);
	for (int i = 0; ok && i < v->ntopics; i++)
		ok = read_info(&r, v->topics[i]) && read_entries(&r, v->topics[i]);
	redis_link_close(&r.link);
	free(r.key);
	return ok || error[0] == '\0'; /* without a text: seen() said stop */
}
