/*
 * bgworkers/relay.h
 *	  The relay worker's state, for its files:
 *
 *	  relay.c         the loop: send, poll, retire
 *	  relay_send.c    the sink's life, batches into it
 *	  relay_config.c  tables -> configuration
 *	  relay_read.c    the log -> batches of messages
 *	  relay_message.c an event -> a message
 *	  relay_memory.c  memory of batches
 *	  relay_done.c    acknowledged batches -> cursor, dead letters, replays
 *	  relay_tell.c    status in shared memory
 *
 * Memory: the configuration has a context of its own, replaced as a whole; a
 * batch has pieces that are given back when all of its messages are acknowledged.
 */
#ifndef USHER_RELAY_H
#define USHER_RELAY_H

#include "worker_loop.h"

#include "lib/breaker.h"
#include "log/log.h"
#include "relay/route.h"
#include "relay/status.h"
#include "sinks/sink.h"

#include "access/xlogdefs.h"
#include "lib/ilist.h"

#define RELAY_ATTRIBUTES 16

/* What the tables say, as of one generation. */
typedef struct RelayConfig
{
	MemoryContext context;
	uint32 generation;
	char *signature; /* of everything that matters to us: equal ones change nothing */
	bool exists;
	bool paused;
	char *name, *kind;
	UsherSinkContext sink;
	UsherRoutes *routes;
	Oid cursor; /* sequence of a live lane */
	int64 repeat_upto;
	/* options of every kind */
	bool structured, with_metadata, block_rejected, dead_letter_topic;
	char *source; /* NULL: /database/tenant */
	int batch_events, in_flight;
	/* replays */
	bool replay_of_dead_letters;
	int64 replay_from, replay_to;
	char *replay_pattern;
} RelayConfig;

typedef struct RelayPiece RelayPiece;

/* All zero: empty. */
typedef struct RelayMemory
{
	char *at; /* rest of the newest piece */
	size_t left;
	RelayPiece *pieces, *large;
} RelayMemory;

typedef struct RelayText
{
	const char *text; /* ends in a zero byte */
	size_t len;
} RelayText;

#define RELAY_TENANTS 8

typedef struct RelayTenant
{
	int32 tenant_id; /* 0: none */
	text *slug; /* NULL: it is gone */
	RelayText name; /* the same */
	RelayText source;
} RelayTenant;

/* Texts that a message has in common with one before it in its batch: they are shared. */
typedef struct RelayCommon
{
	RelayTenant tenants[RELAY_TENANTS];
	RelayText type, topic;
	RelayText time;
	TimestampTz recorded_at;
} RelayCommon;

typedef struct RelayBatch
{
	dlist_node node;
	UsherBatch b; /* what the sink sees */
	RelayMemory memory;
	RelayCommon common;
	size_t bytes; /* of messages */
	int sent; /* handed over to the sink */
	int size; /* room in b.messages */
	XLogRecPtr lsn; /* flushed before anything is sent */
	bool complete; /* the log was read up to its end, not to the batch's limit */
	bool
		stops; /* its only message is rejected, and the sink blocks at it: nothing is read behind it */
	bool dead_letter_topics; /* copies for <topic>.dlq: of no consequence for the cursor */
	int64 unmatched;
} RelayBatch;

typedef struct Relay
{
	UsherWorker worker;
	UsherRelay *entry;
	UsherDb *db;
	int32 sink_id, lane;
	int64 replay_id;
	RelayConfig *config;
	const UsherSinkOps *ops;
	UsherSink *sink; /* NULL: closed */
	bool ready; /* the peer answered */
	bool full; /* it takes no more messages now */
	bool acknowledged; /* something, since it was opened */
	bool exhausted; /* no dead letter of the replay is left */
	UsherBreaker breaker;
	dlist_head batches; /* in the order of the log, oldest first */
	int nbatches;
	int in_flight; /* messages handed over and not done */
	int64 commit_begun_ms; /* the last commit() */
	int64 read_position; /* the log has been read into batches up to here */
	int64 stable; /* as of the last read */
	int64 acked_position; /* acknowledged up to here */
	int64 delivered_position; /* of a replay: the peer says that it has everything up to here */
	int64 cursor_written;
	TimestampTz cursor_written_at;
	int64 duplicates_seen, retried_seen; /* of the open sink, already counted */
	int64 rate_count; /* acknowledged since rate_since */
	TimestampTz rate_since;
} Relay;

/* relay_config.c */
extern RelayConfig *relay_config_load(Relay *relay);
extern void relay_config_free(RelayConfig *config);

/* relay_memory.c */
extern void *relay_alloc_slow(RelayMemory *memory, size_t size);
extern void relay_room(RelayMemory *memory, size_t size);
extern void relay_memory_free(RelayMemory *memory);

static inline void *
relay_alloc(RelayMemory *memory, size_t size)
{
	void *result = memory->at;

	size = MAXALIGN(size);
	if (unlikely(size > memory->left))
		return relay_alloc_slow(memory, size);
	memory->at += size;
	memory->left -= size;
	return result;
}

/* A copy that ends in a zero byte. */
static inline char *
relay_text(RelayMemory *memory, const char *text, size_t len)
{
	char *copy = relay_alloc(memory, len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

/* relay_message.c */
extern int64 relay_message_add(Relay *relay, RelayBatch *batch, TupleTableSlot *event);

/* relay_read.c */
extern RelayBatch *relay_read(Relay *relay);
extern void relay_batch_free(RelayBatch *batch);
extern RelayBatch *relay_dead_letter_batch(Relay *relay, RelayBatch *batch);

/* relay_done.c */
extern void relay_record_rejected(Relay *relay, RelayBatch *batch);
extern void relay_record_cursor(Relay *relay);
extern void relay_record_repeat(Relay *relay, int64 epoch, int64 upto);
extern void relay_record_replayed(Relay *relay, RelayBatch *batch);
extern void relay_end_replay(Relay *relay, const char *error);

/* relay_tell.c */
extern void relay_tell_error(Relay *relay, const char *code, const char *text);
extern void relay_tell_state(Relay *relay, UsherRelayState state);
extern void relay_tell_progress(Relay *relay);
extern void relay_tell_counts(Relay *relay, const RelayBatch *batch);
extern void relay_tell_activity(Relay *relay);

/* relay_send.c: of those that return whether it went well, false: the sink is gone */
extern int64 relay_now_ms(void);
extern void relay_count_in_flight(Relay *relay);
extern void relay_batch_append(Relay *relay, RelayBatch *batch);
extern void relay_batch_remove(Relay *relay, RelayBatch *batch);
extern RelayBatch *relay_batch_to_send(Relay *relay);
extern bool relay_may_read(const Relay *relay);
extern int64 relay_gather_ms(const Relay *relay);
extern bool relay_more_to_read(const Relay *relay);
extern void relay_close_sink(Relay *relay);
extern void relay_block(Relay *relay, const char *code, const char *text);
extern bool relay_make_ready(Relay *relay);
extern bool relay_poll_sink(Relay *relay);
extern bool relay_settle_rejected(Relay *relay, RelayBatch *batch);
extern bool relay_send_some(Relay *relay);
extern const UsherSinkOps *usher_sink_ops(const char *kind);

/* relay.c */
extern void relay_commit(void);
extern Oid relay_log(void);

extern const UsherSinkOps usher_sink_memory;

#endif /* USHER_RELAY_H */
