/*
 * bench/src/kafka_receiver.c
 *		Receives all partitions of a Kafka topic with librdkafka's consumer (receiver.h).
 *
 * The broker answers a fetch as soon as there is one byte (fetch.min.bytes is 1); it waits for up to
 * fetch.wait.max.ms when there is none.
 *
 *		cc -O2 -std=gnu11 -I bench/src bench/src/kafka_receiver.c -lrdkafka
 */
#include "receiver.h"

#include <librdkafka/rdkafka.h>

static rd_kafka_t *
consumer_open(const Receiver *r)
{
	static const char *const settings[][2] = {{"fetch.wait.max.ms", "100"},
											  {"fetch.min.bytes", "1"},
											  {"socket.nagle.disable", "true"},
											  {"auto.offset.reset", "earliest"},
											  {"isolation.level", "read_committed"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *consumer;
	char text[300];

	if (rd_kafka_conf_set(conf, "bootstrap.servers", r->address, text, sizeof(text)) !=
		RD_KAFKA_CONF_OK)
		die("bootstrap.servers", text);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof(text)) !=
			RD_KAFKA_CONF_OK)
			die(settings[i][0], text);
	consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
	if (consumer == NULL)
		die("rd_kafka_new", text);
	return consumer;
}

/* Every partition goes to one queue; returns their number. */
static int
consume_all(const Receiver *r, rd_kafka_t *consumer, rd_kafka_topic_t *topic,
			rd_kafka_queue_t *queue)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t err = rd_kafka_metadata(consumer, 0, topic, &metadata, 10000);
	int n;

	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("metadata", rd_kafka_err2str(err));
	n = metadata->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	if (n == 0)
		die(r->topic, "the topic has no partitions");
	for (int p = 0; p < n; p++)
		if (rd_kafka_consume_start_queue(topic, p, RD_KAFKA_OFFSET_BEGINNING, queue) != 0)
			die("consume", rd_kafka_err2str(rd_kafka_last_error()));
	return n;
}

int
main(int argc, char **argv)
{
	Receiver r;
	rd_kafka_t *consumer;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	int partitions;

	receiver_begin(&r, argc, argv);
	consumer = consumer_open(&r);
	topic = rd_kafka_topic_new(consumer, r.topic, NULL);
	queue = rd_kafka_queue_new(consumer);
	partitions = consume_all(&r, consumer, topic, queue);
	receiver_ready();
	while (r.received < r.count)
	{
		rd_kafka_message_t *message = rd_kafka_consume_queue(queue, SILENCE_MS);

		if (message == NULL)
			die("consume", "nothing has come for ten seconds");
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			receiver_take(&r, message->payload, message->len);
		else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			die("consume", rd_kafka_message_errstr(message));
		rd_kafka_message_destroy(message);
	}
	for (int p = 0; p < partitions; p++)
		rd_kafka_consume_stop(topic, p);
	receiver_print(&r);
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_destroy(topic);
	rd_kafka_destroy(consumer);
	return 0;
}
