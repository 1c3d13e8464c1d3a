/*
 * bgworkers/sinks/kafka.h
 *	  The Kafka sink's state, for its files:
 *
 *	  kafka.c              the functions of sink.h; producers, delivery reports
 *	  kafka_message.c      the ring, messages out, what errors mean
 *	  kafka_config.c       options -> librdkafka's configuration
 *	  kafka_transaction.c  exactly_once: transactions, the cursor's topic
 *	  kafka_verify.c       reads topics back
 *
 * Options: brokers (host:port,...); compression (none, gzip, snappy, lz4, zstd);
 * linger_ms (5); batch_bytes and message_max_bytes (1,000,000); queue_messages
 * (20,000) and queue_kbytes (32,768): what librdkafka may hold; connect_timeout_ms
 * (10,000); ack_timeout_ms (30,000): outstanding, and nothing acknowledged for so
 * long: lost; mode; exactly_once, cursor_topic (usher.cursors),
 * transaction_timeout_ms (30,000).  Section "rdkafka": any property of
 * librdkafka, which wins, but for those that would load or run programs.
 *
 * Order.  librdkafka goes on with the next messages of a partition when some
 * failed, and the failed ones would come after them when they are sent again.
 * So the producer runs with the gapless guarantee: when the broker refuses a
 * batch, the producer stops.  The sink keeps what is not acknowledged in a ring
 * in the order of send(), makes a new producer, and sends the rest of it again.
 * Messages do not time out in librdkafka for the same reason; the sink's own
 * ack_timeout_ms ends all of them together.
 *
 * A refused batch names no culprit.  If it may have held several messages, they
 * are sent again one by one ("careful"), and only what is refused alone is
 * rejected; then batches are made again.
 *
 * In exactly_once mode sink->ops is another table, which has commit().
 */
#ifndef USHER_KAFKA_H
#define USHER_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "sinks/sink.h"

#define KAFKA_TOPIC_BUCKETS 256
/* What a topic refused once is not tried again for so long. */
#define KAFKA_REFUSED_MS         10000
#define KAFKA_DRAIN_MS           2000
#define KAFKA_ALL_DOWN_MS        15000
#define KAFKA_COMMIT_INTERVAL_MS 100 /* commit.interval.ms of Kafka Streams with exactly_once_v2 */
#define KAFKA_BATCH_BYTES_MIN    1024
/* The opaque of messages that are not in the ring. */
#define KAFKA_NO_MESSAGE ((void *) UINTPTR_MAX)

typedef struct KafkaTopic
{
	char *name;
	size_t len;
	uint32_t hash;
	rd_kafka_topic_t *handle; /* of this producer, or NULL */
	bool delivered; /* this producer has delivered something there */
	rd_kafka_resp_err_t refused; /* until refused_until_ms, all messages are rejected with this */
	int64_t refused_until_ms;
	bool probed;
	struct KafkaTopic *next; /* in the same bucket */
} KafkaTopic;

/* The search for the newest committed position, while it goes on. */
typedef struct KafkaCursor
{
	rd_kafka_t *consumer;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	const char *key;
	int64_t window, low, start, end; /* offsets; the end does not move */
	bool reading, ended, broken, found;
	long long position, epoch;
} KafkaCursor;

typedef enum KafkaStage
{
	KAFKA_CONNECTING,
	KAFKA_INITIALIZING, /* exactly_once: older instances are fenced off */
	KAFKA_FINDING, /* its cursor's topic */
	KAFKA_READY
} KafkaStage;

typedef struct Kafka
{
	UsherSink sink; /* first */
	rd_kafka_t *producer;
	rd_kafka_queue_t *queue;
	int event_fd;
	KafkaStage stage;
	int64_t opened_ms;
	bool structured, exactly_once;
	int connect_timeout_ms, ack_timeout_ms, transaction_timeout_ms;
	int64_t queue_messages, batch_bytes;
	UsherSinkResult lost; /* SINK_OK: not; set by callbacks, with sink.error_* */

	/*
	 * Messages in the order of send(), [index & (capacity - 1)], NULL when done.
	 * tail <= produced <= head: those below produced were given to this producer.
	 */
	UsherMessage **ring;
	uint64_t capacity, tail, produced, head;
	uint64_t outstanding; /* not NULL */
	int64_t in_producer; /* given to librdkafka and not reported */

	bool stopped; /* this producer gets no more: wait for reports, then make another one */
	int64_t stopped_ms;
	bool careful; /* this producer makes batches of one message ... */
	uint64_t careful_upto; /* ... below this index; or the next one will */
	bool size_suspected, size_rejected;
	int64_t acknowledged_ms; /* last time that something was, or that nothing was outstanding */
	int64_t all_down_ms; /* 0: some broker is up, as far as we know */

	KafkaTopic *topics[KAFKA_TOPIC_BUCKETS];
	KafkaTopic *last_topic;

	/* exactly_once */
	bool in_transaction;
	bool aborting; /* or aborted, with this producer */
	bool nothing_to_abort; /* the broker said so, which ends this producer */
	UsherBatch *batch; /* whose messages the transaction has */
	int rejected_told; /* of the batch: the relay knows of so many */
	int probe; /* 0: none, 1: sent, 2: delivered, -1: refused */
	int64_t position; /* that goes with the transaction; never falls */
	char *cursor_topic, *cursor_key;
	KafkaCursor cursor;
} Kafka;

/* kafka_message.c */
extern KafkaTopic *usher_kafka_topic(Kafka *k, const char *name, size_t len);
extern void usher_kafka_refuse_topic(KafkaTopic *topic, rd_kafka_resp_err_t err);
extern bool usher_kafka_push(Kafka *k, UsherMessage *message);
extern UsherMessage *usher_kafka_take(Kafka *k, uint64_t index);
extern void usher_kafka_reject(Kafka *k, uint64_t index, int partition, rd_kafka_resp_err_t err);
extern void usher_kafka_all_done(Kafka *k);
extern void usher_kafka_failed(Kafka *k, uint64_t index, int partition, rd_kafka_resp_err_t err);
extern void usher_kafka_stop_producing(Kafka *k);
extern rd_kafka_resp_err_t
usher_kafka_produce(Kafka *k, const UsherMessage *message, KafkaTopic *topic, void *opaque);
extern void usher_kafka_feed(Kafka *k);

/* kafka.c */
extern int64_t usher_kafka_now_ms(void);
extern UsherSinkResult usher_kafka_start(Kafka *k);
extern void usher_kafka_stop(Kafka *k);
extern UsherSinkResult usher_kafka_restart(Kafka *k);
/* Set k->lost, unless it is set already. */
extern void usher_kafka_lost(Kafka *k, const char *code, const char *text);

/* kafka_config.c */
typedef enum KafkaRole
{
	KAFKA_PRODUCER,
	KAFKA_LOOKUP, /* a producer that only asks; sees open transactions */
	KAFKA_CONSUMER
} KafkaRole;

/* NULL with the reason in `error`; `k` only for a producer. */
extern rd_kafka_conf_t *usher_kafka_config(const UsherSinkContext *context, KafkaRole role,
										   const Kafka *k, char *error, size_t error_size);
/* A client that belongs to no Kafka. */
extern rd_kafka_t *
usher_kafka_client(const UsherSinkContext *context, KafkaRole role, char *error, size_t error_size);
/* Replace the values of secret options in a text. */
extern void usher_kafka_redact(const UsherSinkContext *context, char *text);

/* kafka_transaction.c */
extern const UsherSinkOps usher_sink_kafka_transactional;
extern UsherSinkResult usher_kafka_transactions_ready(Kafka *k, int64_t *position);
extern void usher_kafka_cursor_free(Kafka *k);
extern UsherSinkResult usher_kafka_transaction_send(UsherSink *sink, UsherMessage *message);
extern UsherSinkResult usher_kafka_commit(UsherSink *sink, UsherBatch *batch);

/* kafka_verify.c */
extern bool usher_kafka_verify(const UsherSinkContext *context, UsherVerifier *verifier,
							   char *error, size_t error_size);

/* The functions of sink.h that both tables share. */
extern UsherSink *
usher_kafka_open(const UsherSinkContext *context, int64_t *position, UsherSinkResult *result);
extern UsherSinkResult usher_kafka_ready(UsherSink *sink, int64_t *position);
extern UsherSinkResult usher_kafka_send(UsherSink *sink, UsherMessage *message);
extern UsherSinkResult usher_kafka_poll(UsherSink *sink);
extern void usher_kafka_close(UsherSink *sink);

#endif /* USHER_KAFKA_H */
