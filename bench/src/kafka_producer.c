/*
 * bench/src/kafka_producer.c
 *		The native peer of the Kafka sink: librdkafka and nothing else, with the messages of test/integration/src/messages.h.
 *
 *		kafka_producer BROKERS TOPIC COUNT [property=value ...]
 *			keys=10000 size=150 tenant= headers=1 transaction=0 (messages in one; 0: none)
 *
 * All messages are made before the clock starts. The same settings as the sink: idempotent, acks of all, linger 5 ms,
 * murmur2, nothing copied; every other name is a property of librdkafka. With transactions each one holds a record for
 * a cursor's topic as well (TOPIC.cursors), as the sink's do. Prints messages a second, from the first to the last
 * acknowledgement or commit.
 *
 *		cc -O2 -std=gnu11 -I extension -I bgworkers -I test/integration/src bench/src/kafka_producer.c \
 *			extension/lib/cloudevents.c -lrdkafka
 */
#include "messages.h"

#include <librdkafka/rdkafka.h>
#include <sys/resource.h>
#include <time.h>

typedef struct Bench
{
	rd_kafka_conf_t *conf;
	rd_kafka_t *producer;
	rd_kafka_topic_t *topic;
	const char *brokers;
	Messages messages;
	long count, transaction, acknowledged;
	int headers;
	char cursors[300];
	UsherMessage *all;
} Bench;

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
	fprintf(stderr, "kafka_producer: %s: %s\n", what, why);
	exit(1);
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
set(Bench *b, const char *name, const char *value)
{
	char text[300];

	if (rd_kafka_conf_set(b->conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
		die(name, text);
}

static void
delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
	Bench *b = opaque;

	(void) producer;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("delivery", rd_kafka_err2str(message->err));
	b->acknowledged++;
}

static void
check(rd_kafka_error_t *error, const char *what)
{
	if (error != NULL)
		die(what, rd_kafka_error_string(error));
}

static bool
argument(Bench *b, char *text)
{
	char *equals = strchr(text, '=');

	if (equals == NULL)
		die(text, "not name=value");
	*equals++ = '\0';
	if (strcmp(text, "keys") == 0)
		b->messages.keys = atoi(equals);
	else if (strcmp(text, "tenant") == 0)
		b->messages.tenant = equals;
	else if (strcmp(text, "size") == 0)
		b->messages.size = (size_t) atol(equals);
	else if (strcmp(text, "headers") == 0)
		b->headers = atoi(equals);
	else if (strcmp(text, "transaction") == 0)
		b->transaction = atol(equals);
	else
		set(b, text, equals);
	return true;
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
produce(Bench *b, const UsherMessage *m)
{
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_resp_err_t err;
	char name[64] = "ce_";

	if (b->headers)
	{
		headers = rd_kafka_headers_new((size_t) m->nattributes);
		for (int i = 0; i < m->nattributes; i++)
		{
			const UsherAttribute *a = &m->attributes[i];

			if (strcmp(a->name, "datacontenttype") == 0)
				strcpy(name, "content-type");
			else
				sprintf(name, "ce_%s", a->name);
			rd_kafka_header_add(headers, name, -1, a->value, (ssize_t) a->len);
		}
	}
	for (;;)
	{
		err = rd_kafka_producev(
			b->producer, RD_KAFKA_V_RKT(b->topic), RD_KAFKA_V_VALUE((void *) m->body, m->body_len),
			RD_KAFKA_V_KEY(m->key, m->key_len), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(b->producer, 10);
	}
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("produce", rd_kafka_err2str(err));
}

static void
commit(Bench *b, long position)
{
	char text[60];
	int len = sprintf(text, "{\"position\":%ld,\"epoch\":1}", position);
	rd_kafka_resp_err_t err = rd_kafka_producev(
		b->producer, RD_KAFKA_V_TOPIC(b->cursors), RD_KAFKA_V_PARTITION(0),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY("bench", 5),
		RD_KAFKA_V_VALUE(text, (size_t) len), RD_KAFKA_V_END);

	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("cursor", rd_kafka_err2str(err));
	check(rd_kafka_commit_transaction(b->producer, 30000), "commit_transaction");
}

static void
run(Bench *b)
{
	for (long i = 0; i < b->count; i++)
	{
		if (b->transaction > 0 && i % b->transaction == 0)
			check(rd_kafka_begin_transaction(b->producer), "begin_transaction");
		produce(b, &b->all[i]);
		if (i % 256 == 0)
			rd_kafka_poll(b->producer, 0);
		if (b->transaction > 0 && ((i + 1) % b->transaction == 0 || i + 1 == b->count))
			commit(b, i + 1);
	}
	while (b->transaction == 0 && b->acknowledged < b->count)
		rd_kafka_poll(b->producer, 100);
}

int
main(int argc, char **argv)
{
	Bench b = {.messages = {.topics = 1, .keys = 10000, .size = 150}, .headers = 1};
	char text[300];
	double begun, seconds, cpu;

	if (argc < 4)
		die("usage", "kafka_producer BROKERS TOPIC COUNT [name=value ...]");
	b.conf = rd_kafka_conf_new();
	b.messages.topic = argv[2];
	b.count = atol(argv[3]);
	set(&b, "bootstrap.servers", argv[1]);
	set(&b, "acks", "all");
	set(&b, "enable.idempotence", "true");
	set(&b, "linger.ms", "5");
	set(&b, "partitioner", "murmur2_random");
	for (int i = 4; i < argc; i++)
		argument(&b, argv[i]);
	if (b.transaction > 0)
		set(&b, "transactional.id", argv[2]);
	rd_kafka_conf_set_opaque(b.conf, &b);
	rd_kafka_conf_set_dr_msg_cb(b.conf, delivered);
	sprintf(b.cursors, "%.200s.cursors", argv[2]);
	make_messages(&b);
	b.producer = rd_kafka_new(RD_KAFKA_PRODUCER, b.conf, text, sizeof(text));
	if (b.producer == NULL)
		die("rd_kafka_new", text);
	b.topic = rd_kafka_topic_new(b.producer, argv[2], NULL);
	if (b.transaction > 0)
		check(rd_kafka_init_transactions(b.producer, 30000), "init_transactions");
	while (rd_kafka_controllerid(b.producer, 1000) < 0)
		;
	begun = now_seconds();
	cpu = cpu_seconds();
	run(&b);
	seconds = now_seconds() - begun;
	printf("{\"messages\": %ld, \"seconds\": %.3f, \"per_second\": %.0f, \"cpu_seconds\": %.3f}\n",
		   b.count, seconds, (double) b.count / seconds, cpu_seconds() - cpu);
	rd_kafka_topic_destroy(b.topic);
	rd_kafka_destroy(b.producer);
	return 0;
}
