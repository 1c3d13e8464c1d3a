/*
 * bgworkers/sinks/sink.h
 *	  What a sink is to the relay: one peer behind six functions.
 *
 * Sinks are plain C: they include no PostgreSQL header, raise no PostgreSQL
 * error and allocate with malloc, so that they run under sanitizers and in
 * small programs of their own, and so that no thread of a client library ever
 * comes near PostgreSQL.  All functions are called by one thread.
 *
 * The life of a message: the relay owns it and its memory, hands it over with
 * send(), and keeps it until the sink said usher_message_done() or
 * usher_message_rejected(), in poll() or commit(), or until close() returned.
 * Until then the sink may point into it: nothing needs to be copied.
 *
 * Positions of the messages of one sink rise; so do those of one key.  A sink
 * must deliver the messages of one key in the order of send().
 */
#ifndef USHER_SINK_H
#define USHER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/cloudevents.h"

typedef enum UsherMessageState
{
	MESSAGE_PENDING, /* not yet acknowledged */
	MESSAGE_DONE,
	MESSAGE_REJECTED /* for good: sending it again would be rejected again */
} UsherMessageState;

typedef struct UsherMessage
{
	int64_t position;
	int64_t
		replay; /* 0: live; else it has been sent before, and is sent again on purpose under this number */
	const char *topic; /* where to: Kafka topic, Redis key, NATS subject; ends in a zero byte */
	const char *key; /* NULL: none */
	const char
		*body; /* the event's data, or in structured mode the whole event; NULL: a tombstone */
	size_t topic_len, key_len, body_len;
	const UsherAttribute *attributes; /* in structured mode these are in the body as well */
	int nattributes;

	/* written by the sink through the functions below */
	UsherMessageState state;
	int attempts; /* sends to the peer beyond the first, as far as the sink knows */
	int partition; /* of a rejected message, -1: unknown */
	char *error_code; /* malloc'ed, freed by the relay */
	char *error_text;
	bool recorded; /* the relay's own: it is a dead letter */
	struct UsherBatch *batch;
} UsherMessage;

/* Messages that were read from the log together; the cursor moves batch by batch. */
typedef struct UsherBatch
{
	UsherMessage *messages;
	int count;
	int pending; /* not done, not rejected */
	int rejected;
	int64_t upto; /* the log has been examined up to here */
} UsherBatch;

typedef struct UsherOption
{
	const char *section; /* "" or the name of an inner object: "rdkafka" */
	const char *name;
	const char *value; /* as text, secrets filled in: never log a value */
} UsherOption;

/* What a sink is told when it is opened; lives longer than the sink. */
typedef struct UsherSinkContext
{
	const char *sink; /* its name */
	int sink_id;
	int lane, lanes;
	int64_t replay; /* not 0: a worker that replays beside the live flow */
	const char *log_id; /* of this log, worldwide: [0-9-]+ */
	int64_t epoch; /* raised by every seek */
	int64_t position; /* cursor: everything up to here has been acknowledged */
	const UsherOption *options;
	int noptions;
} UsherSinkContext;

typedef enum UsherSinkResult
{
	SINK_OK,
	SINK_FULL, /* send: nothing was taken; call poll() until something was acknowledged */
	SINK_LOST, /* the peer is away or answers nonsense: close, back off, open again at the cursor */
	SINK_BLOCKED /* only a human can mend this: close, and stop */
} UsherSinkResult;

typedef struct UsherSink
{
	const struct UsherSinkOps *ops;
	const UsherSinkContext *context;
	int fd; /* readable when poll() has something to do; -1: poll() must be called every few ms */
	bool want_write; /* wait for fd to be writable, too */
	char error_code
		[64]; /* set with SINK_LOST and SINK_BLOCKED; error_text also at other times: the last trouble */
	char error_text[512];
	int commit_interval_ms; /* with commit(): a batch that is not full begins so long after the last */
	int64_t duplicates; /* messages that the peer had already, as it said itself */
	int64_t retried;
	int64_t
		before_seek; /* the peer had everything up to here in an older epoch; known when ready */
} UsherSink;

/* What verify() found at the peer, one call for each message with a position in the range. */
typedef struct UsherVerifier
{
	int64_t from, to; /* positions, inclusive */
	const char **topics;
	int ntopics;
	int64_t since_ms; /* Unix time of the first event: nothing before needs to be read */
	int timeout_ms; /* give up when the peer has been silent for so long */
	/* false: stop */
	bool (*seen)(struct UsherVerifier *v, const char *topic, int partition, const char *key,
				 size_t key_len, int64_t position, bool replay);
	/* The oldest message that this topic and partition still keeps (0: it never lost one). */
	void (*oldest)(struct UsherVerifier *v, const char *topic, int partition, int64_t position);
	void *arg;
} UsherVerifier;

typedef struct UsherSinkOps
{
	const char *kind;
	bool lane_by_topic; /* lanes are split by topic, not by key */

	/*
	 * Begin to connect.  Never NULL; when it failed at once, sink->error_code is set
	 * and *result is not SINK_OK, and close() is still called.  Waits for at most a second;
	 * what takes longer goes on in poll().  May lower *position when the peer
	 * knows less, or raise it when the peer knows more than the cursor.
	 */
	UsherSink *(*open)(const UsherSinkContext *context, int64_t *position, UsherSinkResult *result);

	/* Is the connection usable?  SINK_FULL: not yet, call poll() and ask again. */
	UsherSinkResult (*ready)(UsherSink *sink, int64_t *position);

	UsherSinkResult (*send)(UsherSink *sink, UsherMessage *message);

	/*
	 * Do what can be done without waiting: write what is queued, take acknowledgements.
	 * Called after a row of send()s as well.
	 */
	UsherSinkResult (*poll)(UsherSink *sink);

	/*
	 * NULL, or: all messages of the batch have been handed over, make them and the
	 * position batch->upto take effect together.  May wait.  Every message is done
	 * or rejected afterwards.  SINK_FULL: nothing has taken effect yet, since more
	 * messages were rejected; they must be recorded before the peer has a position
	 * behind them, then call it again.
	 */
	UsherSinkResult (*commit)(UsherSink *sink, UsherBatch *batch);

	/* Frees everything.  What was not acknowledged may or may not arrive.  At most a second. */
	void (*close)(UsherSink *sink);

	/* Read the peer back, with a connection of its own; may wait.  The error's text goes to `error`. */
	bool (*verify)(const UsherSinkContext *context, UsherVerifier *verifier, char *error,
				   size_t error_size);
} UsherSinkOps;

extern const UsherSinkOps usher_sink_kafka;
extern const UsherSinkOps usher_sink_redis;
extern const UsherSinkOps usher_sink_nats;

/* ---- for sinks (sink.c) ---- */

/* Value of an option, or `otherwise`. */
extern const char *usher_option(const UsherSinkContext *context, const char *section,
								const char *name, const char *otherwise);
extern int64_t usher_option_int(const UsherSinkContext *context, const char *section,
								const char *name, int64_t otherwise);
extern bool usher_option_bool(const UsherSinkContext *context, const char *section,
							  const char *name, bool otherwise);

/* Remember what went wrong, and return `result`.  The text must not contain a secret. */
extern UsherSinkResult
usher_sink_error(UsherSink *sink, UsherSinkResult result, const char *code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static inline void
usher_message_done(UsherMessage *message)
{
	if (message->state != MESSAGE_PENDING)
		return;
	message->state = MESSAGE_DONE;
	message->batch->pending--;
}

extern void
usher_message_rejected(UsherMessage *message, int partition, const char *code, const char *text);

#endif /* USHER_SINK_H */
