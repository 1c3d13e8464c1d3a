/*
 * bgworkers/sinks/kafka_verify.c
 *	  Reads topics back, as a consumer of committed messages would.
 *
 * Without a consumer group, so nothing is left behind at the broker.  The
 * position is in the header ce_position, in structured mode too.  Messages
 * without it are not ours.
 */
#include "sinks/kafka.h"

#include <stdio.h>
#include <stdlib.h>

/* Clocks differ, and an event's time is older than its message's. */
#define MARGIN_MS 60000

struct Reader;

typedef struct Partition
{
	int64_t low, start, end; /* offsets; end: behind the last one when we began */
	bool started, ended;
	int64_t oldest; /* position; 0: not known */
} Partition;

typedef struct Topic
{
	struct Reader *reader;
	const char *name;
	rd_kafka_topic_t *handle;
	int npartitions;
	Partition *partitions;
} Topic;

typedef struct Reader
{
	UsherVerifier *verifier;
	rd_kafka_t *consumer, *lookup;
	rd_kafka_queue_t *queue;
	Topic *topics;
	int open; /* partitions that have not ended */
	bool
		oldest_only; /* wanted: the first position of each that is no replay, which may be of any age */
	bool stop;
	int64_t heard_ms;
	char *error;
	size_t error_size;
} Reader;

static bool
header_number(const rd_kafka_headers_t *headers, const char *name, int64_t *number)
{
	const void *value;
	size_t size;
	char text[24], *end;

	if (rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR ||
		value == NULL || size == 0 || size >= sizeof(text))
		return false;
	memcpy(text, value, size);
	text[size] = '\0';
	*number = strtoll(text, &end, 10);
	return *end == '\0';
}

static void
partition_ended(Reader *r, Partition *p)
{
	if (p->ended)
		return;
	p->ended = true;
	r->open--;
}

static void
record_seen(rd_kafka_message_t *record, void *opaque)
{
	Reader *r = opaque;
	Topic *topic = record->rkt == NULL ? NULL : rd_kafka_topic_opaque(record->rkt);
	Partition *p;
	rd_kafka_headers_t *headers;
	int64_t position, replay;
	bool repeat;

	if (topic == NULL || record->partition < 0 || record->partition >= topic->npartitions)
		return;
	p = &topic->partitions[record->partition];
	if (r->stop || p->ended)
		return;
	if (record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
	{
		if (record->offset >= p->end)
			partition_ended(r, p);
		return;
	}
	if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		snprintf(r->error, r->error_size, "%s, partition %d: %s", topic->name,
				 (int) record->partition, rd_kafka_message_errstr(record));
		r->stop = true;
		return;
	}
	r->heard_ms = usher_kafka_now_ms();
	if (record->offset < p->end && rd_kafka_message_headers(record, &headers) == 0 &&
		header_number(headers, "ce_position", &position))
	{
		repeat = header_number(headers, "ce_replay", &replay);
		if (r->oldest_only && !repeat)
		{
			p->oldest = position;
			partition_ended(r, p);
			return;
		}
		if (!r->oldest_only && position >= r->verifier->from && position <= r->verifier->to)
			r->stop = !r->verifier->seen(r->verifier, topic->name, record->partition, record->key,
										 record->key_len, position, repeat);
	}
	if (record->offset + 1 >= p->end)
		partition_ended(r, p);
}

/* Read all partitions up to their ends.  False: it stopped before. */
static bool
read_all(Reader *r)
{
	r->open = 0;
	r->heard_ms = usher_kafka_now_ms();
	for (int i = 0; i < r->verifier->ntopics; i++)
		for (int j = 0; j < r->topics[i].npartitions; j++)
		{
			Partition *p = &r->topics[i].partitions[j];
			int64_t start = r->oldest_only ? p->low : p->start;

			p->ended = start >= p->end || (r->oldest_only && p->low == 0);
			if (p->ended)
				continue;
			r->open++;
			p->started = true;
			if (rd_kafka_consume_start_queue(r->topics[i].handle, j, start, r->queue) != 0)
			{
				snprintf(r->error, r->error_size, "%s", rd_kafka_err2str(rd_kafka_last_error()));
				r->stop = true;
				p->ended = true;
			}
		}
	while (r->open > 0 && !r->stop)
	{
		rd_kafka_consume_callback_queue(r->queue, 50, record_seen, r);
		rd_kafka_poll(r->consumer, 0);
		if (usher_kafka_now_ms() - r->heard_ms > r->verifier->timeout_ms)
		{
			snprintf(
				r->error, r->error_size,
				"the broker has been silent for %d ms, %d partitions are not read to their end",
				r->verifier->timeout_ms, r->open);
			r->stop = true;
		}
	}
	for (int i = 0; i < r->verifier->ntopics; i++)
		for (int j = 0; j < r->topics[i].npartitions; j++)
		{
			if (r->topics[i].partitions[j].started)
				rd_kafka_consume_stop(r->topics[i].handle, j);
			r->topics[i].partitions[j].started = false;
		}
	return !r->stop;
}

/* Where to begin and to end in a partition. */
static bool
partition_offsets(Reader *r, Topic *topic, int number)
{
	Partition *p = &topic->partitions[number];
	int64_t since_ms = r->verifier->since_ms - MARGIN_MS;
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
		r->lookup, topic->name, number, &p->low, &p->end, r->verifier->timeout_ms);

	p->start = p->low;
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR && since_ms > 0)
	{
		list = rd_kafka_topic_partition_list_new(1);
		rd_kafka_topic_partition_list_add(list, topic->name, number)->offset = since_ms;
		err = rd_kafka_offsets_for_times(r->consumer, list, r->verifier->timeout_ms);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			err = list->elems[0].err;
		/* Negative: nothing is that new. */
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			p->start = list->elems[0].offset < 0 ? p->end : list->elems[0].offset;
		rd_kafka_topic_partition_list_destroy(list);
	}
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	snprintf(r->error, r->error_size, "%s, partition %d: %s", topic->name, number,
			 rd_kafka_err2str(err));
	return false;
}

/* A topic that is not there has no messages. */
static bool
topic_open(Reader *r, Topic *topic, const char *name)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_conf_t *conf;
	rd_kafka_resp_err_t err;
	bool ok = true;

	topic->reader = r;
	topic->name = name;
	conf = rd_kafka_default_topic_conf_dup(r->consumer);
	rd_kafka_topic_conf_set_opaque(conf, topic);
	topic->handle = rd_kafka_topic_new(r->consumer, name, conf);
	if (topic->handle == NULL)
		return true; /* not a name that a topic can have */
	err = rd_kafka_metadata(r->consumer, 0, topic->handle, &metadata, r->verifier->timeout_ms);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		snprintf(r->error, r->error_size, "%s: %s", name, rd_kafka_err2str(err));
		return false;
	}
	if (metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt > 0)
	{
		topic->npartitions = metadata->topics[0].partition_cnt;
		topic->partitions = calloc((size_t) topic->npartitions, sizeof(Partition));
		if (topic->partitions == NULL)
			abort();
	}
	else if (metadata->topic_cnt == 1 &&
			 metadata->topics[0].err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
	{
		snprintf(r->error, r->error_size, "%s: %s", name,
				 rd_kafka_err2str(metadata->topics[0].err));
		ok = false;
	}
	rd_kafka_metadata_destroy(metadata);
	for (int i = 0; ok && i < topic->npartitions; i++)
		ok = partition_offsets(r, topic, i);
	return ok;
}

/* What was trimmed is not missing: tell where each partition begins. */
static bool
tell_oldest(Reader *r)
{
	UsherVerifier *v = r->verifier;

	r->oldest_only = true;
	if (!read_all(r))
		return false;
	r->oldest_only = false;
	for (int i = 0; i < v->ntopics; i++)
		for (int j = 0; j < r->topics[i].npartitions; j++)
		{
			const Partition *p = &r->topics[i].partitions[j];

			/* Trimmed, and nothing of ours is left: everything is older than what is kept. */
			v->oldest(v, r->topics[i].name, j,
					  p->low == 0 ? 0 : (p->oldest > 0 ? p->oldest : v->to + 1));
		}
	return true;
}

static bool
verify(Reader *r)
{
	UsherVerifier *v = r->verifier;

	for (int i = 0; i < v->ntopics; i++)
		if (!topic_open(r, &r->topics[i], v->topics[i]))
			return false;
	if (tell_oldest(r) && read_all(r))
		return true;
	return r->error[0] == '\0'; /* told to stop */
}

bool
usher_kafka_verify(const UsherSinkContext *context, UsherVerifier *verifier, char *error,
				   size_t error_size)
{
	Reader r = {.verifier = verifier, .error = error, .error_size = error_size};
	bool ok = false;

	error[0] = '\0';
	r.topics = calloc((size_t) verifier->ntopics + 1, sizeof(Topic));
	if (r.topics == NULL)
		abort();
	r.consumer = usher_kafka_client(context, KAFKA_CONSUMER, error, error_size);
	if (r.consumer != NULL)
		r.lookup = usher_kafka_client(context, KAFKA_LOOKUP, error, error_size);
	if (r.lookup != NULL)
	{
		r.queue = rd_kafka_queue_new(r.consumer);
		ok = verify(&r);
		for (int i = 0; i < verifier->ntopics; i++)
		{
			if (r.topics[i].handle != NULL)
				rd_kafka_topic_destroy(r.topics[i].handle);
			free(r.topics[i].partitions);
		}
		rd_kafka_queue_destroy(r.queue);
		rd_kafka_destroy(r.lookup);
	}
	if (r.consumer != NULL)
		rd_kafka_destroy(r.consumer);
	free(r.topics);
	return ok;
}
