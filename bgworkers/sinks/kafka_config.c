/*
 * bgworkers/sinks/kafka_config.c
 *	  Options of a Kafka sink -> librdkafka's configuration.
 *
 * Ours are set first, those of section "rdkafka" last, so they win.  A reason
 * for a refusal is librdkafka's own text, without the value: it may be a secret.
 */
#include "sinks/kafka.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Builder
{
	const UsherSinkContext *context;
	rd_kafka_conf_t *conf;
	char *error;
	size_t error_size;
} Builder;

/*
 * Who may configure a sink may not thereby run programs as the server, nor
 * load libraries into it.
 */
static const char *const forbidden[] = {
	"plugin.library.paths", "ssl.providers",           "ssl.engine.location",
	"ssl.engine.id",        "sasl.kerberos.kinit.cmd", "sasl.kerberos.min.time.before.relogin",
};

/* All of `word` in text becomes stars. */
static void
redact_word(char *text, const char *word)
{
	size_t len = strlen(word);

	if (len == 0)
		return;
	for (char *at = text; (at = strstr(at, word)) != NULL; at += len)
		memset(at, '*', len);
}

static bool
is_secret(const char *name)
{
	static const char *const marks[] = {"password", "secret", ".pem", "oauthbearer", "username"};

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (strstr(name, marks[i]) != NULL)
			return true;
	return false;
}

void
usher_kafka_redact(const UsherSinkContext *context, char *text)
{
	for (int i = 0; i < context->noptions; i++)
		if (strcmp(context->options[i].section, "rdkafka") == 0 &&
			is_secret(context->options[i].name))
			redact_word(text, context->options[i].value);
}

static bool
set(Builder *b, const char *name, const char *value)
{
	char text[400] = "";

	if (b->conf == NULL)
		return false;
	if (rd_kafka_conf_set(b->conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
		return true;
	redact_word(text, value);
	usher_kafka_redact(b->context, text);
	snprintf(b->error, b->error_size, "%s", text);
	rd_kafka_conf_destroy(b->conf);
	b->conf = NULL;
	return false;
}

static bool
set_number(Builder *b, const char *name, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long) value);
	return set(b, name, text);
}

/* A number of ours that librdkafka checks, as the user wrote it. */
static bool
set_option(Builder *b, const char *name, const char *option, const char *otherwise)
{
	return set(b, name, usher_option(b->context, "", option, otherwise));
}

static void
set_producer(Builder *b, const Kafka *k)
{
	const UsherSinkContext *context = b->context;
	const char *idempotence = usher_option(context, "rdkafka", "enable.idempotence", "true");

	set(b, "acks", "all");
	set(b, "enable.idempotence", "true");
	if (strcmp(idempotence, "true") == 0 && !k->exactly_once)
		set(b, "enable.gapless.guarantee", "true");
	set(b, "retry.backoff.ms", "100");
	set(b, "partitioner", "murmur2_random");
	set_option(b, "linger.ms", "linger_ms", "5");
	set_option(b, "compression.codec", "compression", "none");
	set_option(b, "message.max.bytes", "message_max_bytes", "1000000");
	set_option(b, "queue.buffering.max.messages", "queue_messages", "20000");
	set_option(b, "queue.buffering.max.kbytes", "queue_kbytes", "32768");
	set_number(b, "batch.size", k->batch_bytes);
	/* How long a topic may be unknown before its messages are rejected. */
	set(b, "topic.metadata.propagation.max.ms", "10000");
	if (k->exactly_once)
	{
		char id[200];
		int len = snprintf(id, sizeof(id), "usher-%s-%d-%d", context->log_id, context->sink_id,
						   context->lane);

		if (context->replay != 0)
			snprintf(id + len, sizeof(id) - len, "-r%lld", (long long) context->replay);
		set(b, "transactional.id", id);
		set_number(b, "transaction.timeout.ms", k->transaction_timeout_ms);
	}
	else
		set(b, "message.timeout.ms", "0");
}

static void
set_consumer(Builder *b)
{
	set(b, "isolation.level", "read_committed");
	set(b, "enable.partition.eof", "true");
	set(b, "enable.auto.commit", "false");
	set(b, "enable.auto.offset.store", "false");
	set(b, "allow.auto.create.topics", "false");
	set(b, "auto.offset.reset", "earliest");
	set(b, "fetch.wait.max.ms", "100");
	set(b, "fetch.error.backoff.ms", "100");
	set(b, "queued.max.messages.kbytes", "16384");
}

static bool
allowed(Builder *b, const UsherOption *option)
{
	const char *name = option->name;
	bool ours = strcmp(name, "transactional.id") == 0;

	for (size_t i = 0; !ours && i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		if (strcmp(name, forbidden[i]) == 0)
		{
			snprintf(b->error, b->error_size, "property \"%s\" is not allowed", name);
			return false;
		}
	if (ours)
		snprintf(b->error, b->error_size, "property \"%s\" is set by exactly_once", name);
	return !ours;
}

static void
set_users(Builder *b)
{
	for (int i = 0; i < b->context->noptions && b->conf != NULL; i++)
	{
		const UsherOption *option = &b->context->options[i];

		if (strcmp(option->section, "rdkafka") != 0)
			continue;
		if (allowed(b, option))
			set(b, option->name, option->value);
		else
		{
			rd_kafka_conf_destroy(b->conf);
			b->conf = NULL;
		}
	}
}

rd_kafka_conf_t *
usher_kafka_config(const UsherSinkContext *context, KafkaRole role, const Kafka *k, char *error,
				   size_t error_size)
{
	Builder b = {context, rd_kafka_conf_new(), error, error_size};
	const char *brokers = usher_option(context, "", "brokers", NULL);
	char client[100];

	if (brokers != NULL)
		set(&b, "bootstrap.servers", brokers);
	else if (usher_option(context, "rdkafka", "bootstrap.servers", NULL) == NULL &&
			 usher_option(context, "rdkafka", "metadata.broker.list", NULL) == NULL)
	{
		snprintf(error, error_size, "the config names no brokers");
		rd_kafka_conf_destroy(b.conf);
		return NULL;
	}
	snprintf(client, sizeof(client), "pg_usher-%d-%d", context->sink_id, context->lane);
	set(&b, "client.id", client);
	set(&b, "socket.keepalive.enable", "true");
	/* It gathers messages itself: Nagle's algorithm only makes small requests wait for the last one's ACK. */
	set(&b, "socket.nagle.disable", "true");
	set(&b, "reconnect.backoff.max.ms", "1000");
	set(&b, "socket.connection.setup.timeout.ms", "10000");
	set(&b, "isolation.level", "read_uncommitted");
	/* Its refresh of tickets would run a shell. */
	set(&b, "sasl.kerberos.min.time.before.relogin", "0");
	if (role == KAFKA_PRODUCER)
		set_producer(&b, k);
	else if (role == KAFKA_CONSUMER)
		set_consumer(&b);
	set_users(&b);
	/* What must not be overruled. */
	if (role == KAFKA_PRODUCER && k->careful)
		set(&b, "batch.num.messages", "1");
	else if (role == KAFKA_LOOKUP)
	{
		set(&b, "enable.idempotence", "false");
		set(&b, "isolation.level", "read_uncommitted");
	}
	else if (role == KAFKA_CONSUMER)
	{
		set(&b, "isolation.level", "read_committed");
		set(&b, "enable.partition.eof", "true");
	}
	/* The sink tells of errors; what librdkafka would write to stderr is for debugging it. */
	if (b.conf != NULL && usher_option(context, "rdkafka", "debug", NULL) == NULL)
		rd_kafka_conf_set_log_cb(b.conf, NULL);
	return b.conf;
}

rd_kafka_t *
usher_kafka_client(const UsherSinkContext *context, KafkaRole role, char *error, size_t error_size)
{
	rd_kafka_conf_t *conf = usher_kafka_config(context, role, NULL, error, error_size);
	rd_kafka_t *client;

	if (conf == NULL)
		return NULL;
	client = rd_kafka_new(role == KAFKA_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf,
						  error, error_size);
	if (client == NULL)
	{
		rd_kafka_conf_destroy(conf);
		usher_kafka_redact(context, error);
	}
	return client;
}
