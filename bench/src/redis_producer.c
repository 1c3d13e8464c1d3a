/*
 * bench/src/redis_producer.c
 *		The native peer of the Redis sink: hiredis and nothing else, with the messages of test/integration/src/messages.h.
 *
 *		redis_producer HOST:PORT TOPIC COUNT [name=value ...]
 *			topics=1 keys=10000 size=150 tenant= window=2000 (commands on their way)
 *
 * All messages are made before the clock starts. The same commands as the sink's: XADD with the position as id and the
 * attributes as fields; pipelined, the oldest half of the window's replies is read when the window is full. Prints
 * messages a second, from the first command to the last reply.
 *
 *		cc -O2 -std=gnu11 -I extension -I bgworkers -I test/integration/src bench/src/redis_producer.c \
 *			extension/lib/cloudevents.c -lhiredis
 */
#define PROGRAM "redis_producer"
#include "producer.h"

#include <hiredis/hiredis.h>

typedef struct Bench
{
	Producer p;
	redisContext *redis;
	long window, replies;
} Bench;

static bool
argument(void *bench, const char *name, const char *value)
{
	Bench *b = bench;

	if (strcmp(name, "window") != 0)
		return false;
	b->window = atol(value);
	return true;
}

static void
add(const char **words, size_t *lens, int *n, const char *word, size_t len)
{
	words[*n] = word;
	lens[(*n)++] = len;
}

static void
produce(Bench *b, const UsherMessage *m)
{
	const char *words[5 + 2 * MESSAGE_ATTRIBUTES];
	size_t lens[5 + 2 * MESSAGE_ATTRIBUTES];
	char id[32];
	int n = 0;

	add(words, lens, &n, "XADD", 4);
	add(words, lens, &n, m->topic, m->topic_len);
	add(words, lens, &n, id, (size_t) sprintf(id, "%lld-0", (long long) m->position));
	for (int i = 0; i < m->nattributes; i++)
	{
		add(words, lens, &n, m->attributes[i].name, strlen(m->attributes[i].name));
		add(words, lens, &n, m->attributes[i].value, m->attributes[i].len);
	}
	add(words, lens, &n, "data", 4);
	add(words, lens, &n, m->body, m->body_len);
	if (redisAppendCommandArgv(b->redis, n, words, lens) != REDIS_OK)
		die("XADD", b->redis->errstr);
}

static void
take_replies(Bench *b, long until)
{
	while (b->replies < until)
	{
		void *object;
		redisReply *reply;

		if (redisGetReply(b->redis, &object) != REDIS_OK)
			die("reply", b->redis->errstr);
		reply = object;
		if (reply->type != REDIS_REPLY_STRING)
			die("XADD", reply->str ? reply->str : "an unexpected reply");
		freeReplyObject(reply);
		b->replies++;
	}
}

int
main(int argc, char **argv)
{
	Bench b = {.window = 2000};
	char *colon;

	if (argc < 4 || (colon = strrchr(argv[1], ':')) == NULL)
		die("usage", "redis_producer HOST:PORT TOPIC COUNT [name=value ...]");
	*colon = '\0';
	producer_arguments(&b.p, argc, argv, argument, &b);
	producer_messages(&b.p);
	b.redis = redisConnect(argv[1], atoi(colon + 1));
	if (b.redis == NULL || b.redis->err)
		die("connect", b.redis ? b.redis->errstr : "no memory");
	producer_begin(&b.p);
	for (long i = 0; i < b.p.count; i++)
	{
		produce(&b, &b.p.all[i]);
		if (i + 1 - b.replies >= b.window)
			take_replies(&b, b.replies + b.window / 2);
	}
	take_replies(&b, b.p.count);
	producer_print(&b.p);
	redisFree(b.redis);
	return 0;
}
