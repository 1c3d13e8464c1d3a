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
#include "messages.h"

#include <hiredis/hiredis.h>
#include <sys/resource.h>
#include <time.h>

typedef struct Bench
{
	redisContext *redis;
	Messages messages;
	long count, window, replies;
	UsherMessage *all;
} Bench;

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
	fprintf(stderr, "redis_producer: %s: %s\n", what, why);
	exit(1);
}

static double
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* What another user of the machine does not change. */
static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void
argument(Bench *b, char *text)
{
	char *equals = strchr(text, '=');

	if (equals == NULL)
		die(text, "not name=value");
	*equals++ = '\0';
	if (strcmp(text, "keys") == 0)
		b->messages.keys = atoi(equals);
	else if (strcmp(text, "topics") == 0)
		b->messages.topics = atoi(equals);
	else if (strcmp(text, "tenant") == 0)
		b->messages.tenant = equals;
	else if (strcmp(text, "size") == 0)
		b->messages.size = (size_t) atol(equals);
	else if (strcmp(text, "window") == 0)
		b->window = atol(equals);
	else
		die(text, "unknown");
}

static void
make_messages(Bench *b)
{
	Arena arena = {.size = message_room(&b->messages) * (size_t) b->count};

	arena.memory = malloc(arena.size);
	b->all = calloc((size_t) b->count, sizeof(UsherMessage));
	if (arena.memory == NULL || b->all == NULL)
		die("messages", "no memory");
	for (long i = 0; i < b->count; i++)
		message_make(&b->messages, &b->all[i], i + 1, &arena);
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
	Bench b = {.messages = {.topics = 1, .keys = 10000, .size = 150}, .window = 2000};
	double begun, seconds, cpu;
	char *colon;

	if (argc < 4 || (colon = strrchr(argv[1], ':')) == NULL)
		die("usage", "redis_producer HOST:PORT TOPIC COUNT [name=value ...]");
	*colon = '\0';
	b.messages.topic = argv[2];
	b.count = atol(argv[3]);
	for (int i = 4; i < argc; i++)
		argument(&b, argv[i]);
	make_messages(&b);
	b.redis = redisConnect(argv[1], atoi(colon + 1));
	if (b.redis == NULL || b.redis->err)
		die("connect", b.redis ? b.redis->errstr : "no memory");
	begun = now_seconds();
	cpu = cpu_seconds();
	for (long i = 0; i < b.count; i++)
	{
		produce(&b, &b.all[i]);
		if (i + 1 - b.replies >= b.window)
			take_replies(&b, b.replies + b.window / 2);
	}
	take_replies(&b, b.count);
	seconds = now_seconds() - begun;
	printf("{\"messages\": %ld, \"seconds\": %.3f, \"per_second\": %.0f, \"cpu_seconds\": %.3f}\n",
		   b.count, seconds, (double) b.count / seconds, cpu_seconds() - cpu);
	redisFree(b.redis);
	return 0;
}
