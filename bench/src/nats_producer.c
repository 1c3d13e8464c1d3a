/*
 * bench/src/nats_producer.c
 *		The native peer of the NATS sink: libnats and nothing else, with the messages of test/integration/src/messages.h.
 *
 *		nats_producer HOST:PORT TOPIC COUNT [name=value ...]
 *			stream=BENCH topics=1 keys=10000 size=150 tenant= window=16384 (messages without an acknowledgement)
 *			id=native.1. (of Nats-Msg-Id, before the position)
 *
 * All messages are made before the clock starts. js_PublishMsgAsync with the same headers as the sink's; the clock ends
 * when all are acknowledged. Prints messages a second.
 *
 *		cc -O2 -std=gnu11 -I extension -I bgworkers -I test/integration/src bench/src/nats_producer.c \
 *			extension/lib/cloudevents.c -lnats
 */
#include "messages.h"

#include <nats/nats.h>
#include <sys/resource.h>
#include <time.h>

#define STALL_MS    30000
#define COMPLETE_MS 120000

typedef struct Bench
{
	natsConnection *connection;
	jsCtx *js;
	Messages messages;
	const char *stream, *id;
	long count, window;
	UsherMessage *all;
} Bench;

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
	fprintf(stderr, "nats_producer: %s: %s\n", what, why);
	exit(1);
}

static void
check(const char *what, natsStatus status)
{
	if (status != NATS_OK)
		die(what, natsStatus_GetText(status));
}

static double
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Of all threads: what another user of the machine does not change. */
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
	else if (strcmp(text, "stream") == 0)
		b->stream = equals;
	else if (strcmp(text, "id") == 0)
		b->id = equals;
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
connect_server(Bench *b, const char *address)
{
	char url[300];
	jsOptions options;

	snprintf(url, sizeof(url), "nats://%.250s", address);
	check(url, natsConnection_ConnectTo(&b->connection, url));
	check("options", jsOptions_Init(&options));
	options.PublishAsync.MaxPending = b->window;
	options.PublishAsync.StallWait = STALL_MS;
	check("JetStream", natsConnection_JetStream(&b->js, b->connection, &options));
}

static void
produce(Bench *b, const UsherMessage *m)
{
	natsMsg *out = NULL;
	char text[200] = "ce-";

	check("message", natsMsg_Create(&out, m->topic, NULL, m->body, (int) m->body_len));
	for (int i = 0; i < m->nattributes; i++)
	{
		const UsherAttribute *a = &m->attributes[i];

		snprintf(text + 3, sizeof(text) - 3, "%s", a->name);
		check(text,
			  natsMsgHeader_Set(
				  out, strcmp(a->name, "datacontenttype") == 0 ? "Content-Type" : text, a->value));
	}
	snprintf(text, sizeof(text), "%s%lld", b->id, (long long) m->position);
	check("id", natsMsgHeader_Set(out, "Nats-Msg-Id", text));
	check("stream", natsMsgHeader_Set(out, "Nats-Expected-Stream", b->stream));
	check("publish", js_PublishMsgAsync(b->js, &out, NULL));
}

int
main(int argc, char **argv)
{
	Bench b = {.messages = {.topics = 1, .keys = 10000, .size = 150},
			   .stream = "BENCH",
			   .id = "native.1.",
			   .window = 16384};
	jsPubOptions wait;
	natsMsgList failed = {0};
	double begun, seconds, cpu;

	if (argc < 4)
		die("usage", "nats_producer HOST:PORT TOPIC COUNT [name=value ...]");
	b.messages.topic = argv[2];
	b.count = atol(argv[3]);
	for (int i = 4; i < argc; i++)
		argument(&b, argv[i]);
	make_messages(&b);
	connect_server(&b, argv[1]);
	check("options", jsPubOptions_Init(&wait));
	wait.MaxWait = COMPLETE_MS;
	begun = now_seconds();
	cpu = cpu_seconds();
	for (long i = 0; i < b.count; i++)
		produce(&b, &b.all[i]);
	check("acknowledgements", js_PublishAsyncComplete(b.js, &wait));
	seconds = now_seconds() - begun;
	if (js_PublishAsyncGetPendingList(&failed, b.js) == NATS_OK && failed.Count > 0)
		die("acknowledgements", "some are missing");
	printf("{\"messages\": %ld, \"seconds\": %.3f, \"per_second\": %.0f, \"cpu_seconds\": %.3f}\n",
		   b.count, seconds, (double) b.count / seconds, cpu_seconds() - cpu);
	jsCtx_Destroy(b.js);
	natsConnection_Destroy(b.connection);
	return 0;
}
