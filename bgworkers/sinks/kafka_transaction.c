/*
 * bgworkers/sinks/kafka_transaction.c
 *	  exactly_once: a batch is a transaction, and the position goes with it.
 *
 * The transaction's last record says {"position":...,"epoch":...}.  It lies in
 * the cursor's topic, partition 0, under the key <log>:<sink>:<lane>.  When the
 * relay dies between the commit here and the cursor in the database, the next
 * one finds it there.  Before it looks, init_transactions() has fenced off
 * older producers of this lane and has ended what they left open.
 *
 * A record that the broker refuses makes the transaction impossible: it is
 * aborted, and the batch is sent again without the record, in the same order.
 * Consumers that read committed messages never see the first attempt.
 */
#include "sinks/kafka.h"

#include <stdio.h>
#include <stdlib.h>

#define SLICE_MS 300
/* First look at so many of the newest records; then at twice as many, ... */
#define CURSOR_WINDOW 1000

/* ---- ready: step by step ---- */

/* Takes the error.  True: go on; false: again later, or k->lost is set. */
static bool
went_well(Kafka *k, rd_kafka_error_t *error)
{
	if (error == NULL)
		return true;
	if (!rd_kafka_error_is_retriable(error))
		usher_kafka_lost(k, rd_kafka_error_name(error), rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	return false;
}

/* Is the topic there?  1 yes, 0 no, -1 unknown; never creates it. */
static int
topic_exists(rd_kafka_t *consumer, const char *name)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
	int found = -1;

	if (topic == NULL)
		return -1;
	if (rd_kafka_metadata(consumer, 0, topic, &metadata, SLICE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
			metadata->topics[0].partition_cnt > 0)
			found = 1;
		else if (metadata->topic_cnt == 1 &&
				 (metadata->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
				  metadata->topics[0].err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC))
			found = 0;
		rd_kafka_metadata_destroy(metadata);
	}
	rd_kafka_topic_destroy(topic);
	return found;
}

/* Ask for the cursor's topic; whether it worked, the next look tells. */
static void
topic_create(Kafka *k)
{
	char text[256] = "";
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(k->cursor_topic, 1, -1, text, sizeof(text));
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;

	if (topic == NULL)
	{
		usher_kafka_lost(k, "cursor_topic", text);
		return;
	}
	rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
	rd_kafka_NewTopic_set_config(topic, "segment.bytes", "8388608");
	queue = rd_kafka_queue_new(k->producer);
	rd_kafka_CreateTopics(k->producer, &topic, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, 900);
	if (event != NULL)
	{
		size_t n = 0;
		const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
		const rd_kafka_topic_result_t **topics = result == NULL
													 ? NULL
													 : rd_kafka_CreateTopics_result_topics(result,
																						   &n);

		if (n == 1 && rd_kafka_topic_result_error(topics[0]) != RD_KAFKA_RESP_ERR_NO_ERROR)
			usher_sink_error(&k->sink, SINK_OK,
							 rd_kafka_err2name(rd_kafka_topic_result_error(topics[0])),
							 "topic \"%s\" of the cursors cannot be created: %s", k->cursor_topic,
							 rd_kafka_topic_result_error_string(topics[0]));
		rd_kafka_event_destroy(event);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_NewTopic_destroy(topic);
}

static void
cursor_record(rd_kafka_message_t *record, void *opaque)
{
	KafkaCursor *c = opaque;
	char text[100];
	long long position, epoch;

	if (record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
	{
		c->ended |= record->offset >= c->end;
		return;
	}
	if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		c->broken = true;
		return;
	}
	if (record->key_len != strlen(c->key) || memcmp(record->key, c->key, record->key_len) != 0 ||
		record->payload == NULL || record->len >= sizeof(text))
		return;
	memcpy(text, record->payload, record->len);
	text[record->len] = '\0';
	if (sscanf(text, "{\"position\":%lld,\"epoch\":%lld}", &position, &epoch) != 2)
		return;
	c->found = true;
	c->position = position;
	c->epoch = epoch;
}

/* True: the next window is being read. */
static bool
cursor_start(Kafka *k, KafkaCursor *c)
{
	int64_t low, high;

	/* The producer sees open transactions, so this end lies behind all that we ever wrote. */
	if (rd_kafka_query_watermark_offsets(k->producer, k->cursor_topic, 0, &low, &high, SLICE_MS) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	if (c->end == 0)
		c->end = high;
	c->low = low;
	c->start = c->end - c->window > low ? c->end - c->window : low;
	c->ended = c->end <= low;
	c->broken = c->found = false;
	c->reading = rd_kafka_consume_start_queue(c->topic, 0, c->start, c->queue) == 0;
	return c->reading;
}

/*
 * The newest committed position of this lane.  Searches backwards, in windows
 * that grow, since it is most likely near the end.  True: done.
 */
static bool
cursor_search(Kafka *k, KafkaCursor *c)
{
	int64_t until_ms = usher_kafka_now_ms() + SLICE_MS;

	if (!c->reading && !cursor_start(k, c))
		return false;
	while (!c->ended && !c->broken && usher_kafka_now_ms() < until_ms)
		rd_kafka_consume_callback_queue(c->queue, 20, cursor_record, c);
	if (!c->ended && !c->broken)
		return false;
	rd_kafka_consume_stop(c->topic, 0);
	c->reading = false;
	if (c->ended && (c->found || c->start <= c->low))
		return true;
	if (c->ended)
		c->window *= 4;
	return false;
}

void
usher_kafka_cursor_free(Kafka *k)
{
	KafkaCursor *c = &k->cursor;

	if (c->reading)
		rd_kafka_consume_stop(c->topic, 0);
	if (c->queue != NULL)
		rd_kafka_queue_destroy(c->queue);
	if (c->topic != NULL)
		rd_kafka_topic_destroy(c->topic);
	if (c->consumer != NULL)
		rd_kafka_destroy(c->consumer);
	memset(c, 0, sizeof(*c));
}

static void
cursor_names(Kafka *k)
{
	const UsherSinkContext *context = k->sink.context;
	char key[200];
	int len;

	if (k->cursor_key != NULL)
		return;
	len = snprintf(key, sizeof(key), "%s:%d:%d", context->log_id, context->sink_id, context->lane);
	if (context->replay != 0)
		snprintf(key + len, sizeof(key) - len, ":r%lld", (long long) context->replay);
	k->cursor_key = strdup(key);
	k->cursor_topic = strdup(usher_option(context, "", "cursor_topic", "usher.cursors"));
	if (k->cursor_key == NULL || k->cursor_topic == NULL)
		abort();
}

/* The topic is made if need be, and read, a slice at a time.  True: *position is up to date. */
static bool
cursor_position(Kafka *k, int64_t *position)
{
	KafkaCursor *c = &k->cursor;

	if (c->consumer == NULL)
	{
		char text[400];

		c->consumer = usher_kafka_client(k->sink.context, KAFKA_CONSUMER, text, sizeof(text));
		if (c->consumer == NULL)
		{
			usher_kafka_lost(k, "config", text);
			return false;
		}
		c->key = k->cursor_key;
		c->window = CURSOR_WINDOW;
		c->queue = rd_kafka_queue_new(c->consumer);
	}
	if (c->topic == NULL)
	{
		switch (topic_exists(c->consumer, k->cursor_topic))
		{
			case 0:
				topic_create(k);
				return false;
			case 1:
				c->topic = rd_kafka_topic_new(c->consumer, k->cursor_topic, NULL);
				break;
			default:
				return false;
		}
	}
	if (c->topic == NULL || !cursor_search(k, c))
		return false;
	/* A replay's record is under its own key, whatever was sought meanwhile. */
	if (c->found && (c->epoch == k->sink.context->epoch || k->sink.context->replay != 0))
		*position = c->position > *position ? c->position : *position;
	else if (c->found && c->epoch < k->sink.context->epoch)
		k->sink.before_seek = c->position;
	k->position = *position;
	usher_kafka_cursor_free(k);
	return true;
}

UsherSinkResult
usher_kafka_transactions_ready(Kafka *k, int64_t *position)
{
	rd_kafka_poll(k->producer, 0);
	cursor_names(k);
	if (k->stage == KAFKA_INITIALIZING &&
		went_well(k, rd_kafka_init_transactions(k->producer, SLICE_MS)))
		k->stage = KAFKA_FINDING;
	else if (k->stage == KAFKA_FINDING && k->lost == SINK_OK && cursor_position(k, position))
		k->stage = KAFKA_READY;
	if (k->lost != SINK_OK)
		return k->lost;
	if (k->stage == KAFKA_READY)
		return SINK_OK;
	if (usher_kafka_now_ms() - k->opened_ms > k->connect_timeout_ms + k->transaction_timeout_ms)
	{
		char text[700];

		snprintf(text, sizeof(text), "%s in time: %s",
				 k->stage == KAFKA_FINDING ? "the cursor's topic could not be read"
										   : "no transaction could be begun",
				 k->sink.error_text);
		usher_kafka_lost(k, "_TIMED_OUT", text);
		return k->lost;
	}
	return SINK_FULL;
}

/* ---- commit ---- */

typedef enum Attempt
{
	ATTEMPT_COMMITTED,
	ATTEMPT_REJECTED, /* messages that the relay does not know of as rejected; go on later */
	ATTEMPT_FAILED, /* abort, and try again */
	ATTEMPT_LOST
} Attempt;

static bool
out_of_time(Kafka *k, int64_t deadline_ms)
{
	char text[700];

	if (usher_kafka_now_ms() < deadline_ms)
		return false;
	snprintf(text, sizeof(text), "the transaction did not end in time: %s", k->sink.error_text);
	usher_kafka_lost(k, "_TIMED_OUT", text);
	return true;
}

static bool
begin(Kafka *k)
{
	if (!went_well(k, rd_kafka_begin_transaction(k->producer)))
	{
		usher_kafka_lost(k, "begin_transaction", "no transaction could be begun");
		return false;
	}
	k->in_transaction = true;
	k->aborting = false;
	return true;
}

/*
 * When all partitions of a transaction were refused the broker has not begun
 * it, refuses to abort it, and librdkafka takes that for fatal.  To us it is
 * aborted; the producer must be replaced.
 */
static bool
abort_transaction(Kafka *k, int64_t deadline_ms)
{
	rd_kafka_error_t *error;

	k->aborting = true;
	while ((error = rd_kafka_abort_transaction(k->producer, SLICE_MS)) != NULL)
	{
		if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_INVALID_TXN_STATE)
		{
			rd_kafka_error_destroy(error);
			k->nothing_to_abort = true;
			break;
		}
		if (!went_well(k, error) && (k->lost != SINK_OK || out_of_time(k, deadline_ms)))
			return false;
	}
	k->in_transaction = false;
	return k->lost == SINK_OK;
}

/* Another producer of the same name, which fences off the first. */
static bool
replace_producer(Kafka *k, int64_t deadline_ms)
{
	if (usher_kafka_restart(k) != SINK_OK)
		return false;
	while (!went_well(k, rd_kafka_init_transactions(k->producer, SLICE_MS)))
		if (k->lost != SINK_OK || out_of_time(k, deadline_ms))
			return false;
	return true;
}

static rd_kafka_resp_err_t
produce_cursor(Kafka *k)
{
	char text[100];
	int len = snprintf(text, sizeof(text), "{\"position\":%lld,\"epoch\":%lld}",
					   (long long) k->position, (long long) k->sink.context->epoch);

	return rd_kafka_producev(k->producer, RD_KAFKA_V_TOPIC(k->cursor_topic),
							 RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							 RD_KAFKA_V_KEY(k->cursor_key, strlen(k->cursor_key)),
							 RD_KAFKA_V_VALUE(text, (size_t) len),
							 RD_KAFKA_V_OPAQUE(KAFKA_NO_MESSAGE), RD_KAFKA_V_END);
}

/* A transaction that can only be aborted takes no messages, not even nonsense. */
static bool
cannot_commit(Kafka *k)
{
	return rd_kafka_producev(k->producer, RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR__STATE;
}

/* Everything that is left of the batch, the position, commit. */
static Attempt
attempt(Kafka *k, UsherBatch *batch, int64_t deadline_ms, rd_kafka_resp_err_t *err)
{
	*err = RD_KAFKA_RESP_ERR_NO_ERROR;
	for (;;)
	{
		usher_kafka_feed(k);
		if (k->lost != SINK_OK || out_of_time(k, deadline_ms))
			return ATTEMPT_LOST;
		if (k->stopped || k->produced == k->head)
			break;
		rd_kafka_poll(k->producer, 10);
	}
	if (batch->rejected > k->rejected_told)
	{
		k->rejected_told = batch->rejected;
		return ATTEMPT_REJECTED;
	}
	while (!k->stopped && (*err = produce_cursor(k)) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
	{
		rd_kafka_poll(k->producer, 10);
		if (out_of_time(k, deadline_ms))
			return ATTEMPT_LOST;
	}
	if (*err != RD_KAFKA_RESP_ERR_NO_ERROR && *err != RD_KAFKA_RESP_ERR__STATE)
		return ATTEMPT_FAILED;
	/* Not all of the batch is in it.  When it cannot succeed anyway, this tells why. */
	if (k->stopped && !cannot_commit(k))
	{
		*err = RD_KAFKA_RESP_ERR__STATE;
		return ATTEMPT_FAILED;
	}
	while (k->lost == SINK_OK)
	{
		rd_kafka_error_t *error = rd_kafka_commit_transaction(k->producer, SLICE_MS);
		bool again;

		if (error == NULL)
			return ATTEMPT_COMMITTED;
		*err = rd_kafka_error_code(error);
		if (rd_kafka_error_txn_requires_abort(error))
		{
			usher_sink_error(&k->sink, SINK_OK, rd_kafka_error_name(error), "%s",
							 rd_kafka_error_string(error));
			rd_kafka_error_destroy(error);
			return ATTEMPT_FAILED;
		}
		again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_is_fatal(error);
		if (!again)
			usher_kafka_lost(k, rd_kafka_error_name(error), rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
		if (!again || out_of_time(k, deadline_ms))
			break;
	}
	return ATTEMPT_LOST;
}

/*
 * The broker lets us write to some topic not, and does not say to which.  Send
 * the first message of each topic in a transaction that is aborted.
 */
static bool
probe_topics(Kafka *k, int64_t deadline_ms)
{
	bool refused = false;

	if (k->nothing_to_abort && !replace_producer(k, deadline_ms))
		return false;
	for (int i = 0; i < KAFKA_TOPIC_BUCKETS; i++)
		for (KafkaTopic *topic = k->topics[i]; topic != NULL; topic = topic->next)
			topic->probed = topic->refused != RD_KAFKA_RESP_ERR_NO_ERROR;
	for (uint64_t i = k->tail; i < k->head; i++)
	{
		const UsherMessage *message = k->ring[i & (k->capacity - 1)];
		KafkaTopic *topic = message == NULL
								? NULL
								: usher_kafka_topic(k, message->topic, message->topic_len);

		if (topic == NULL || topic->probed)
			continue;
		topic->probed = true;
		if (!begin(k))
			return false;
		k->probe = 1;
		if (usher_kafka_produce(k, message, topic, KAFKA_NO_MESSAGE) != RD_KAFKA_RESP_ERR_NO_ERROR)
			k->probe = -1;
		while (k->probe == 1 && k->lost == SINK_OK && !out_of_time(k, deadline_ms))
		{
			rd_kafka_poll(k->producer, 10);
			if (k->probe == 1 && cannot_commit(k))
				k->probe = -1;
		}
		if (k->lost != SINK_OK)
			return false;
		if (k->probe == -1)
		{
			usher_kafka_refuse_topic(topic, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
			refused = true;
		}
		k->probe = 0;
		if (!abort_transaction(k, deadline_ms) ||
			(k->nothing_to_abort && !replace_producer(k, deadline_ms)))
			return false;
	}
	return refused;
}

/*
 * Abort, and be ready to send the batch again.  With another producer: after
 * a failed request librdkafka counts on where the broker does not, and the next
 * transaction would fail for that alone.
 */
static void
recover(Kafka *k, rd_kafka_resp_err_t err, uint64_t outstanding, int64_t deadline_ms)
{
	/* Only now the last delivery reports are here. */
	if (!abort_transaction(k, deadline_ms))
		return;
	if (k->careful_upto > k->tail && !k->careful)
		k->careful_upto = k->head;
	/* Nothing was rejected: another attempt would end the same way, but for this. */
	else if (k->outstanding == outstanding &&
			 (err != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || !probe_topics(k, deadline_ms)))
		usher_kafka_lost(k, rd_kafka_err2name(err), rd_kafka_err2str(err));
	if (k->lost == SINK_OK && replace_producer(k, deadline_ms) && k->outstanding > 0)
		begin(k);
}

UsherSinkResult
usher_kafka_transaction_send(UsherSink *sink, UsherMessage *message)
{
	Kafka *k = (Kafka *) sink;

	if (k->lost != SINK_OK)
		return k->lost;
	if (k->outstanding > 0 && k->batch != message->batch)
		return SINK_FULL; /* a transaction is a batch */
	if (!k->in_transaction && !k->stopped && !begin(k))
		return k->lost;
	k->batch = message->batch;
	/* Nothing is acknowledged before the commit, so all of the batch is taken. */
	if (!usher_kafka_push(k, message))
		return SINK_FULL;
	usher_kafka_feed(k);
	return k->lost;
}

UsherSinkResult
usher_kafka_commit(UsherSink *sink, UsherBatch *batch)
{
	Kafka *k = (Kafka *) sink;
	int64_t deadline_ms = usher_kafka_now_ms() + k->transaction_timeout_ms;

	if (batch->upto > k->position)
		k->position = batch->upto; /* batches beside the cursor's way have none */
	while (k->lost == SINK_OK && k->outstanding > 0)
	{
		uint64_t outstanding = k->outstanding;
		rd_kafka_resp_err_t err;

		switch (attempt(k, batch, deadline_ms, &err))
		{
			case ATTEMPT_COMMITTED:
				k->in_transaction = false;
				usher_kafka_all_done(k);
				break;
			case ATTEMPT_REJECTED:
				return SINK_FULL;
			case ATTEMPT_FAILED:
				recover(k, err, outstanding, deadline_ms);
				break;
			case ATTEMPT_LOST:
				break;
		}
	}
	/* Everything was rejected when it was sent: the transaction is empty. */
	if (k->lost == SINK_OK && k->in_transaction && abort_transaction(k, deadline_ms))
		k->stopped = false;
	if (k->lost == SINK_OK && (k->careful || k->nothing_to_abort))
		replace_producer(k, deadline_ms);
	k->batch = NULL;
	k->rejected_told = 0;
	return k->lost;
}

const UsherSinkOps usher_sink_kafka_transactional = {
	.kind = "kafka",
	.open = usher_kafka_open,
	.ready = usher_kafka_ready,
	.send = usher_kafka_transaction_send,
	.poll = usher_kafka_poll,
	.commit = usher_kafka_commit,
	.close = usher_kafka_close,
	.verify = usher_kafka_verify,
};
