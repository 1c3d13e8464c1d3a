/*
 * bgworkers/sinks/kafka.c
 *	  Messages to Kafka through librdkafka's idempotent producer.
 *
 * kafka.h says how order is kept.  Nothing is copied but keys and headers: a
 * message's body is read by librdkafka's threads until its delivery report, so
 * a message may be given back only when the producer has reported it or is gone.
 * Delivery reports and errors are callbacks, called by rd_kafka_poll() in the
 * relay's thread.
 */
#include "sinks/kafka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int64_t
usher_kafka_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
usher_kafka_lost(Kafka *k, const char *code, const char *text)
{
	if (k->lost != SINK_OK)
		return;
	k->lost = usher_sink_error(&k->sink, SINK_LOST, code, "%s", text);
	usher_kafka_redact(k->sink.context, k->sink.error_text);
}

/* ---- callbacks, called by rd_kafka_poll() ---- */

static void
delivery_report(rd_kafka_t *producer, const rd_kafka_message_t *report, void *opaque)
{
	Kafka *k = opaque;
	uint64_t index = (uintptr_t) report->_private;
	UsherMessage *message;
	KafkaTopic *topic;

	(void) producer;
	if (report->_private == KAFKA_NO_MESSAGE)
	{
		if (k->probe == 1)
			k->probe = report->err == RD_KAFKA_RESP_ERR_NO_ERROR ? 2 : -1;
		return;
	}
	k->in_producer--;
	if (report->err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		usher_kafka_failed(k, index, report->partition, report->err);
		return;
	}
	message = k->ring[index & (k->capacity - 1)];
	topic = k->last_topic;
	if (topic == NULL || topic->handle != report->rkt)
		topic = usher_kafka_topic(k, message->topic, message->topic_len);
	if (topic != NULL)
		topic->delivered = true;
	k->all_down_ms = 0;
	k->acknowledged_ms = 0; /* now: poll() looks at the clock once for all */
	if (!k->exactly_once)
		usher_message_done(usher_kafka_take(k, index));
}

static void
error_happened(rd_kafka_t *client, int err, const char *reason, void *opaque)
{
	Kafka *k = opaque;
	char text[400];

	switch ((rd_kafka_resp_err_t) err)
	{
		case RD_KAFKA_RESP_ERR__FATAL:
			err = rd_kafka_fatal_error(client, text, sizeof(text));
			if (err == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE)
				usher_kafka_stop_producing(k);
			else if (err != RD_KAFKA_RESP_ERR_INVALID_TXN_STATE || !k->aborting)
				usher_kafka_lost(k, rd_kafka_err2name(err), text);
			return;
		case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		case RD_KAFKA_RESP_ERR__SSL:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
			usher_kafka_lost(k, rd_kafka_err2name(err), reason);
			return;
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
			if (k->all_down_ms == 0)
				k->all_down_ms = usher_kafka_now_ms();
			return; /* the error before it says why */
		default:
			if (k->lost == SINK_OK)
			{
				usher_sink_error(&k->sink, SINK_OK, rd_kafka_err2name(err), "%s", reason);
				usher_kafka_redact(k->sink.context, k->sink.error_text);
			}
	}
}

/* ---- a producer ---- */

UsherSinkResult
usher_kafka_start(Kafka *k)
{
	static const uint64_t one = 1;
	char text[400] = "";
	rd_kafka_conf_t *conf = usher_kafka_config(k->sink.context, KAFKA_PRODUCER, k, text,
											   sizeof(text));

	if (conf == NULL)
		return usher_sink_error(&k->sink, SINK_BLOCKED, "config", "%s", text);
	rd_kafka_conf_set_opaque(conf, k);
	rd_kafka_conf_set_dr_msg_cb(conf, delivery_report);
	rd_kafka_conf_set_error_cb(conf, error_happened);
	k->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (k->producer == NULL)
	{
		rd_kafka_conf_destroy(conf);
		usher_kafka_redact(k->sink.context, text);
		return usher_sink_error(&k->sink, SINK_BLOCKED, "config", "%s", text);
	}
	k->queue = rd_kafka_queue_get_main(k->producer);
	rd_kafka_queue_io_event_enable(k->queue, k->event_fd, &one, sizeof(one));
	k->stopped = k->aborting = k->nothing_to_abort = false;
	k->in_producer = 0;
	k->produced = k->tail;
	k->all_down_ms = 0;
	k->acknowledged_ms = usher_kafka_now_ms();
	return SINK_OK;
}

/* Afterwards librdkafka points to no message any more. */
void
usher_kafka_stop(Kafka *k)
{
	if (k->producer == NULL)
		return;
	for (int i = 0; i < KAFKA_TOPIC_BUCKETS; i++)
		for (KafkaTopic *topic = k->topics[i]; topic != NULL; topic = topic->next)
		{
			if (topic->handle != NULL)
				rd_kafka_topic_destroy(topic->handle);
			topic->handle = NULL;
			topic->delivered = false;
		}
	rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
									RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_queue_destroy(k->queue);
	rd_kafka_destroy(k->producer);
	k->producer = NULL;
	k->in_producer = 0;
}

/* The next producer, careful or not. */
UsherSinkResult
usher_kafka_restart(Kafka *k)
{
	UsherSinkResult result;

	usher_kafka_stop(k);
	if (k->careful && k->careful_upto <= k->tail)
	{
		/* None was too large alone, so all together were. */
		if (k->size_suspected && !k->size_rejected)
			k->batch_bytes = k->batch_bytes / 8 > KAFKA_BATCH_BYTES_MIN ? k->batch_bytes / 8
																		: KAFKA_BATCH_BYTES_MIN;
		k->size_suspected = k->size_rejected = false;
	}
	k->careful = k->careful_upto > k->tail;
	for (uint64_t i = k->tail; i < k->produced; i++)
		if (k->ring[i & (k->capacity - 1)] != NULL)
		{
			k->ring[i & (k->capacity - 1)]->attempts++;
			k->sink.retried++;
		}
	result = usher_kafka_start(k);
	if (result != SINK_OK)
		k->lost = result;
	return result;
}

/* ---- send, poll ---- */

/* A stopped or careful producer that has reported everything is replaced. */
static void
maintain(Kafka *k)
{
	if (k->exactly_once || k->lost != SINK_OK)
		return;
	if (k->stopped)
	{
		if (k->in_producer > 0 && usher_kafka_now_ms() - k->stopped_ms < KAFKA_DRAIN_MS)
			return;
	}
	else if (!k->careful || k->produced < k->careful_upto || k->in_producer > 0)
		return;
	usher_kafka_restart(k);
	usher_kafka_feed(k);
}

UsherSinkResult
usher_kafka_send(UsherSink *sink, UsherMessage *message)
{
	Kafka *k = (Kafka *) sink;

	if (k->lost != SINK_OK)
		return k->lost;
	maintain(k);
	if (k->lost != SINK_OK)
		return k->lost;
	if (k->stopped || k->careful || k->produced < k->head || k->in_producer >= k->queue_messages ||
		!usher_kafka_push(k, message))
		return SINK_FULL;
	usher_kafka_feed(k);
	if (k->produced < k->head && k->lost == SINK_OK && !k->stopped)
	{
		usher_kafka_take(k, --k->head); /* the queue was full of bytes */
		return SINK_FULL;
	}
	return k->lost;
}

/* Nothing came back for too long. */
static void
check_silence(Kafka *k)
{
	int64_t now;
	char text[700];

	if (k->outstanding == 0 || k->lost != SINK_OK)
		return;
	now = usher_kafka_now_ms();
	if (k->acknowledged_ms == 0 || k->in_producer == 0)
		k->acknowledged_ms = now;
	if (k->all_down_ms != 0 && now - k->all_down_ms > KAFKA_ALL_DOWN_MS &&
		now - k->acknowledged_ms > KAFKA_ALL_DOWN_MS)
	{
		snprintf(text, sizeof(text), "no broker has been up for %d seconds: %s",
				 KAFKA_ALL_DOWN_MS / 1000, k->sink.error_text);
		usher_kafka_lost(k, "_ALL_BROKERS_DOWN", text);
	}
	else if (now - k->acknowledged_ms > k->ack_timeout_ms)
	{
		snprintf(text, sizeof(text), "nothing was acknowledged for %d ms: %s", k->ack_timeout_ms,
				 k->sink.error_text);
		usher_kafka_lost(k, "_TIMED_OUT", text);
	}
}

UsherSinkResult
usher_kafka_poll(UsherSink *sink)
{
	Kafka *k = (Kafka *) sink;
	uint64_t count;
	int rounds = 0;

	if (k->producer == NULL)
		return k->lost;
	if (read(k->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		usher_kafka_lost(k, "eventfd", strerror(errno));
	/* The event comes only when the queue was empty: empty it. */
	while (rd_kafka_poll(k->producer, 0) > 0 && ++rounds < 1000)
		;
	if (k->lost == SINK_OK)
	{
		usher_kafka_feed(k);
		maintain(k);
		check_silence(k);
	}
	return k->lost;
}

/* ---- open, ready, close ---- */

UsherSink *
usher_kafka_open(const UsherSinkContext *context, int64_t *position, UsherSinkResult *result)
{
	Kafka *k = calloc(1, sizeof(*k));

	(void) position;
	if (k == NULL)
		abort(); /* as librdkafka does when it gets no memory */
	k->sink.context = context;
	k->sink.fd = -1;
	k->structured = strcmp(usher_option(context, "", "mode", "binary"), "structured") == 0;
	k->exactly_once = usher_option_bool(context, "", "exactly_once", false);
	k->sink.ops = k->exactly_once ? &usher_sink_kafka_transactional : &usher_sink_kafka;
	k->connect_timeout_ms = (int) usher_option_int(context, "", "connect_timeout_ms", 10000);
	k->ack_timeout_ms = (int) usher_option_int(context, "", "ack_timeout_ms", 30000);
	k->transaction_timeout_ms = (int) usher_option_int(context, "", "transaction_timeout_ms",
													   30000);
	if (k->exactly_once)
		k->sink.commit_interval_ms = (int) usher_option_int(context, "", "commit_interval_ms",
															KAFKA_COMMIT_INTERVAL_MS);
	k->queue_messages = usher_option_int(context, "", "queue_messages", 20000);
	k->batch_bytes = usher_option_int(context, "", "batch_bytes", 1000000);
	k->opened_ms = usher_kafka_now_ms();
	k->capacity = 1024;
	k->ring = calloc(k->capacity, sizeof(void *));
	k->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (k->ring == NULL)
		abort();
	if (k->event_fd < 0)
		*result = usher_sink_error(&k->sink, SINK_LOST, "eventfd", "%s", strerror(errno));
	else
		*result = usher_kafka_start(k);
	k->sink.fd = k->event_fd;
	k->lost = *result;
	return &k->sink;
}

/* Metadata is the first thing that a broker tells. */
UsherSinkResult
usher_kafka_ready(UsherSink *sink, int64_t *position)
{
	Kafka *k = (Kafka *) sink;

	if (k->lost != SINK_OK)
		return k->lost;
	if (k->stage == KAFKA_CONNECTING)
	{
		if (rd_kafka_controllerid(k->producer, 20) >= 0)
			k->stage = k->exactly_once ? KAFKA_INITIALIZING : KAFKA_READY;
		else if (usher_kafka_now_ms() - k->opened_ms > k->connect_timeout_ms)
		{
			char text[700];

			rd_kafka_poll(k->producer, 0);
			snprintf(text, sizeof(text), "no broker answered in %d ms%s%s", k->connect_timeout_ms,
					 k->sink.error_text[0] != '\0' ? ": " : "", k->sink.error_text);
			usher_kafka_lost(k, "connect", text);
		}
	}
	if (k->lost == SINK_OK && k->stage != KAFKA_CONNECTING && k->stage != KAFKA_READY)
		return usher_kafka_transactions_ready(k, position);
	if (k->lost != SINK_OK)
		return k->lost;
	return k->stage == KAFKA_READY ? SINK_OK : SINK_FULL;
}

void
usher_kafka_close(UsherSink *sink)
{
	Kafka *k = (Kafka *) sink;

	usher_kafka_cursor_free(k);
	usher_kafka_stop(k);
	for (int i = 0; i < KAFKA_TOPIC_BUCKETS; i++)
		for (KafkaTopic *topic = k->topics[i], *next; topic != NULL; topic = next)
		{
			next = topic->next;
			free(topic->name);
			free(topic);
		}
	if (k->event_fd >= 0)
		close(k->event_fd);
	free(k->cursor_topic);
	free(k->cursor_key);
	free(k->ring);
	free(k);
}

const UsherSinkOps usher_sink_kafka = {
	.kind = "kafka",
	.open = usher_kafka_open,
	.ready = usher_kafka_ready,
	.send = usher_kafka_send,
	.poll = usher_kafka_poll,
	.commit = NULL,
	.close = usher_kafka_close,
	.verify = usher_kafka_verify,
};
