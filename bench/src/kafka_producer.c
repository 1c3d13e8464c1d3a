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
#define PROGRAM "kafka_producer"
#include "producer.h"

#include <librdkafka/rdkafka.h>

typedef struct Bench
{
	Producer p;
	rd_kafka_conf_t *conf;
	rd_kafka_t *producer;
	rd_kafka_topic_t *topic;
	const char *brokers;
	long transaction, acknowledged;
	int headers;
	char cursors[300];
} Bench;

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
argument(void *bench, const char *name, const char *value)
{
	Bench *b = bench;

	if (strcmp(name, "headers") == 0)
		b->headers = atoi(value);
	else if (strcmp(name, "transaction") == 0)
		b->transaction = atol(value);
	else
		set(b, name, value);
	return true;
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
	for (long i = 0; i < b->p.count; i++)
	{
		if (b->transaction > 0 && i % b->transaction == 0)
			check(rd_kafka_begin_transaction(b->producer), "begin_transaction");
		produce(b, &b->p.all[i]);
		if (i % 256 == 0)
			rd_kafka_poll(b->producer, 0);
		if (b->transaction > 0 && ((i + 1) % b->transaction == 0 || i + 1 == b->p.count))
			commit(b, i + 1);
	}
	while (b->transaction == 0 && b->acknowledged < b->p.count)
		rd_kafka_poll(b->producer, 100);
}

int
main(int argc, char **argv)
{
	Bench b = {.headers = 1};
	char text[300];

	if (argc < 4)
		die("usage", "kafka_producer BROKERS TOPIC COUNT [name=value ...]");
	b.conf = rd_kafka_conf_new();
	set(&b, "bootstrap.servers", argv[1]);
	set(&b, "acks", "all");
	set(&b, "enable.idempotence", "true");
	set(&b, "linger.ms", "5");
	set(&b, "partitioner", "murmur2_random");
	producer_arguments(&b.p, argc, argv, argument, &b);
	if (b.p.messages.topics != 1)
		die("topics", "one only");
	if (b.transaction > 0)
		set(&b, "transactional.id", argv[2]);
	rd_kafka_conf_set_opaque(b.conf, &b);
	rd_kafka_conf_set_dr_msg_cb(b.conf, delivered);
	sprintf(b.cursors, "%.200s.cursors", argv[2]);
	producer_messages(&b.p);
	b.producer = rd_kafka_new(RD_KAFKA_PRODUCER, b.conf, text, sizeof(text));
	if (b.producer == NULL)
		die("rd_kafka_new", text);
	b.topic = rd_kafka_topic_new(b.producer, argv[2], NULL);
	if (b.transaction > 0)
		check(rd_kafka_init_transactions(b.producer, 30000), "init_transactions");
	while (rd_kafka_controllerid(b.producer, 1000) < 0)
		;
	producer_begin(&b.p);
	run(&b);
	producer_print(&b.p);
	rd_kafka_topic_destroy(b.topic);
	rd_kafka_destroy(b.producer);
	return 0;
}
