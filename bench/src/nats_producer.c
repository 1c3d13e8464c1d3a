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
#define PROGRAM "nats_producer"
#include "producer.h"

#include <nats/nats.h>

#define STALL_MS    30000
#define COMPLETE_MS 120000

typedef struct Bench
{
	Producer p;
	natsConnection *connection;
	jsCtx *js;
	const char *stream, *id;
	long window;
} Bench;

static void
check(const char *what, natsStatus status)
{
	if (status != NATS_OK)
		die(what, natsStatus_GetText(status));
}

static bool
argument(void *bench, const char *name, const char *value)
{
	Bench *b = bench;

	if (strcmp(name, "window") == 0)
		b->window = atol(value);
	else if (strcmp(name, "stream") == 0)
		b->stream = value;
	else if (strcmp(name, "id") == 0)
		b->id = value;
	else
		return false;
	return true;
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
	Bench b = {.stream = "BENCH", .id = "native.1.", .window = 16384};
	jsPubOptions wait;
	natsMsgList failed = {0};

	if (argc < 4)
		die("usage", "nats_producer HOST:PORT TOPIC COUNT [name=value ...]");
	producer_arguments(&b.p, argc, argv, argument, &b);
	producer_messages(&b.p);
	connect_server(&b, argv[1]);
	check("options", jsPubOptions_Init(&wait));
	wait.MaxWait = COMPLETE_MS;
	producer_begin(&b.p);
	for (long i = 0; i < b.p.count; i++)
		produce(&b, &b.p.all[i]);
	check("acknowledgements", js_PublishAsyncComplete(b.js, &wait));
	if (js_PublishAsyncGetPendingList(&failed, b.js) == NATS_OK && failed.Count > 0)
		die("acknowledgements", "some are missing");
	producer_print(&b.p);
	jsCtx_Destroy(b.js);
	natsConnection_Destroy(b.connection);
	return 0;
}
