/*
 * bgworkers/sinks/kafka_message.c
 *	  The messages of a Kafka sink: the ring, their way to librdkafka, and what
 *	  it means when one fails.
 */
#include "sinks/kafka.h"

#include <stdlib.h>

/* ---- topics ---- */

KafkaTopic *
usher_kafka_topic(Kafka *k, const char *name, size_t len)
{
	uint32_t hash = 2166136261u;
	KafkaTopic *topic = k->last_topic;

	if (topic != NULL && topic->len == len && memcmp(topic->name, name, len) == 0)
		return topic;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) name[i]) * 16777619u;
	for (topic = k->topics[hash % KAFKA_TOPIC_BUCKETS]; topic != NULL; topic = topic->next)
		if (topic->hash == hash && topic->len == len && memcmp(topic->name, name, len) == 0)
			break;
	if (topic == NULL)
	{
		topic = calloc(1, sizeof(*topic));
		if (topic == NULL || (topic->name = strndup(name, len)) == NULL)
		{
			free(topic);
			return NULL;
		}
		topic->len = len;
		topic->hash = hash;
		topic->next = k->topics[hash % KAFKA_TOPIC_BUCKETS];
		k->topics[hash % KAFKA_TOPIC_BUCKETS] = topic;
	}
	k->last_topic = topic;
	return topic;
}

void
usher_kafka_refuse_topic(KafkaTopic *topic, rd_kafka_resp_err_t err)
{
	topic->refused = err;
	topic->refused_until_ms = usher_kafka_now_ms() + KAFKA_REFUSED_MS;
}

/* ---- the ring ---- */

bool
usher_kafka_push(Kafka *k, UsherMessage *message)
{
	if (k->head - k->tail == k->capacity)
	{
		uint64_t capacity = k->capacity * 2;
		UsherMessage **ring = calloc(capacity, sizeof(void *));

		if (ring == NULL)
			return false;
		for (uint64_t i = k->tail; i < k->head; i++)
			ring[i & (capacity - 1)] = k->ring[i & (k->capacity - 1)];
		free(k->ring);
		k->ring = ring;
		k->capacity = capacity;
	}
	if (k->outstanding++ == 0)
		k->acknowledged_ms = usher_kafka_now_ms();
	k->ring[k->head++ & (k->capacity - 1)] = message;
	return true;
}

/* The message is the relay's again: done, rejected or not taken. */
UsherMessage *
usher_kafka_take(Kafka *k, uint64_t index)
{
	UsherMessage *message = k->ring[index & (k->capacity - 1)];

	k->ring[index & (k->capacity - 1)] = NULL;
	k->outstanding--;
	while (k->tail < k->produced && k->ring[k->tail & (k->capacity - 1)] == NULL)
		k->tail++;
	return message;
}

void
usher_kafka_all_done(Kafka *k)
{
	for (uint64_t i = k->tail; i < k->head; i++)
	{
		if (k->ring[i & (k->capacity - 1)] != NULL)
			usher_message_done(k->ring[i & (k->capacity - 1)]);
		k->ring[i & (k->capacity - 1)] = NULL;
	}
	k->tail = k->produced = k->head;
	k->outstanding = 0;
}

void
usher_kafka_reject(Kafka *k, uint64_t index, int partition, rd_kafka_resp_err_t err)
{
	usher_message_rejected(usher_kafka_take(k, index), partition, rd_kafka_err2name(err),
						   rd_kafka_err2str(err));
}

/* ---- what errors mean ---- */

typedef enum Fate
{
	FATE_TOPIC, /* the topic takes none of its messages */
	FATE_RECORD, /* this message, or one that was in a batch with it */
	FATE_AGAIN, /* not sent, for the sake of another one */
	FATE_LOST
} Fate;

static Fate
fate_of(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return FATE_TOPIC;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_INVALID_RECORD:
			return FATE_RECORD;
		case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
		case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
		case RD_KAFKA_RESP_ERR__FATAL:
		case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
		case RD_KAFKA_RESP_ERR__STATE:
			return FATE_AGAIN;
		default:
			return FATE_LOST;
	}
}

static bool
is_unknown(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		   err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* Give this producer nothing more; what it has and did not send comes back. */
void
usher_kafka_stop_producing(Kafka *k)
{
	if (k->stopped)
		return;
	k->stopped = true;
	k->stopped_ms = usher_kafka_now_ms();
	if (!k->exactly_once)
		rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/* The producer died of the gap that a refused batch leaves: what is meant to happen. */
static bool
died_of_gap(Kafka *k)
{
	char text[256];

	return rd_kafka_fatal_error(k->producer, text, sizeof(text)) ==
		   RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE;
}

/* A message was not delivered: reject it, keep it for the next producer, or give up. */
void
usher_kafka_failed(Kafka *k, uint64_t index, int partition, rd_kafka_resp_err_t err)
{
	UsherMessage *message = k->ring[index & (k->capacity - 1)];
	KafkaTopic *topic = usher_kafka_topic(k, message->topic, message->topic_len);
	bool alone = k->careful || (int64_t) (message->body_len + message->key_len) >= k->batch_bytes;
	Fate fate = fate_of(err);

	if (fate == FATE_LOST && err == RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER &&
		(k->exactly_once || died_of_gap(k)))
		fate = FATE_AGAIN;
	/* It was there a moment ago: a broker that does not know yet.  A new producer asks again. */
	if (fate == FATE_TOPIC && is_unknown(err) && topic != NULL && topic->delivered)
		fate = FATE_AGAIN;
	if (fate == FATE_RECORD && !alone)
	{
		if (k->careful_upto <= index)
			k->careful_upto = index + 1;
		k->size_suspected |= err != RD_KAFKA_RESP_ERR_INVALID_RECORD;
		fate = FATE_AGAIN;
	}
	else if (fate == FATE_RECORD)
		k->size_rejected |= err != RD_KAFKA_RESP_ERR_INVALID_RECORD;

	if (fate == FATE_LOST)
		usher_kafka_lost(k, rd_kafka_err2name(err), rd_kafka_err2str(err));
	else if (fate == FATE_AGAIN)
		usher_kafka_stop_producing(k);
	else
	{
		if (fate == FATE_TOPIC && topic != NULL)
			usher_kafka_refuse_topic(topic, err);
		usher_kafka_reject(k, index, partition, err);
	}
}

/* ---- messages out ---- */

static rd_kafka_headers_t *
headers_of(const Kafka *k, const UsherMessage *message)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t) message->nattributes + 1);
	char name[64] = "ce_";

	if (k->structured)
		rd_kafka_header_add(headers, "content-type", 12,
							"application/cloudevents+json; charset=UTF-8", 43);
	for (int i = 0; i < message->nattributes; i++)
	{
		const UsherAttribute *attribute = &message->attributes[i];
		size_t len = strlen(attribute->name);

		/* In structured mode too: who reads back need not parse bodies. */
		if (k->structured && strcmp(attribute->name, "position") != 0 &&
			strcmp(attribute->name, "replay") != 0)
			continue;
		if (len == 15 && memcmp(attribute->name, "datacontenttype", 15) == 0)
		{
			rd_kafka_header_add(headers, "content-type", 12, attribute->value,
								(ssize_t) attribute->len);
			continue;
		}
		if (len > sizeof(name) - 4)
			continue;
		memcpy(name + 3, attribute->name, len);
		rd_kafka_header_add(headers, name, (ssize_t) len + 3, attribute->value,
							(ssize_t) attribute->len);
	}
	return headers;
}

rd_kafka_resp_err_t
usher_kafka_produce(Kafka *k, const UsherMessage *message, KafkaTopic *topic, void *opaque)
{
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t err;

	if (topic == NULL)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL; /* no memory: later */
	if (topic->handle == NULL)
		topic->handle = rd_kafka_topic_new(k->producer, topic->name, NULL);
	if (topic->handle == NULL)
		return RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
	headers = headers_of(k, message);
	err = rd_kafka_producev(k->producer, RD_KAFKA_V_RKT(topic->handle),
							RD_KAFKA_V_VALUE((void *) message->body, message->body_len),
							RD_KAFKA_V_KEY(message->key, message->key_len),
							RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_headers_destroy(headers);
	return err;
}

/* Give the producer the message at `produced`.  False: not now. */
static bool
feed_one(Kafka *k)
{
	UsherMessage *message = k->ring[k->produced & (k->capacity - 1)];
	KafkaTopic *topic;
	rd_kafka_resp_err_t err;

	if (message == NULL)
	{
		k->produced++;
		return true;
	}
	if (k->in_producer >= k->queue_messages)
		return false;
	topic = usher_kafka_topic(k, message->topic, message->topic_len);
	if (topic != NULL && topic->refused != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (usher_kafka_now_ms() < topic->refused_until_ms)
		{
			usher_kafka_reject(k, k->produced++, -1, topic->refused);
			return true;
		}
		topic->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	err = usher_kafka_produce(k, message, topic, (void *) (uintptr_t) k->produced);
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return false;
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		k->in_producer++;
		k->produced++;
		return true;
	}
	if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		usher_kafka_reject(k, k->produced++, -1, err); /* larger than our own limit */
	else
	{
		uint64_t index = k->produced++;

		usher_kafka_failed(k, index, -1, err);
		if (k->lost != SINK_OK || k->stopped)
			k->produced = index;
	}
	return k->lost == SINK_OK && !k->stopped;
}

void
usher_kafka_feed(Kafka *k)
{
	uint64_t upto = k->careful && k->careful_upto < k->head ? k->careful_upto : k->head;

	while (k->lost == SINK_OK && !k->stopped && k->produced < upto && feed_one(k))
		;
	/* Nothing may hold the tail back that is done already. */
	while (k->tail < k->produced && k->ring[k->tail & (k->capacity - 1)] == NULL)
		k->tail++;
}
