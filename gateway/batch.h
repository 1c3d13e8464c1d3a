/*
 * gateway/batch.h
 *	  Coalescing: appends that arrive while a call is in flight travel together,
 *	  as one call of usher.append_requests and one commit.
 *
 * A batch leaves from batch_flush(), which the loop calls at the end of each
 * round.  Every element ends in exactly one call of done(), after the Sync's
 * result; never from within batch_add().
 */
#ifndef USHERD_BATCH_H
#define USHERD_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/text.h"

/* An event to be appended (stream) or published (topic).  Absent: data == NULL. */
typedef struct AppendEvent
{
	Slice stream, topic, key, type;
	Slice data, metadata; /* JSON texts */
	Slice event_id; /* 16 bytes, or absent */
	bool has_expected_version;
	int64_t expected_version;
} AppendEvent;

typedef struct AppendedEvent
{
	unsigned char id[16];
	int64_t version; /* 0 for a published event */
	int64_t position;
} AppendedEvent;

typedef enum AppendOutcome
{
	APPEND_DONE, /* committed; or a repeat of what was: replayed */
	APPEND_REFUSED, /* nothing was written: sqlstate, message, event_index, actual_version */
	APPEND_UNKNOWN, /* the connection ended before the commit was confirmed */
	APPEND_UNAVAILABLE, /* nothing was sent: too much to do, or no database */
	APPEND_BUSY, /* the idempotency key is in use elsewhere, for 5 seconds by now */
} AppendOutcome;

typedef struct AppendResult
{
	AppendOutcome outcome;
	bool replayed;
	char sqlstate[6];
	const char *message, *detail, *hint; /* "" when there is none */
	int event_index; /* -1: of the whole request */
	int64_t actual_version; /* -1: not about a version */
	const AppendedEvent *events; /* as many as were given */
} AppendResult;

/* One request: its events are appended all or none.  Everything it points to must live until done(). */
typedef struct AppendRequest
{
	const char *tenant;
	const char *user_id, *actor_type; /* for usher.actor; user_id "" for an anonymous one */
	Slice idempotency_key; /* absent: none */
	unsigned char fingerprint[32];
	Slice correlation_id, causation_id, traceparent;
	const AppendEvent *events;
	int nevents;
	void (*done)(void *context, const AppendResult *result);
	void *context;
} AppendRequest;

/* false: the queue is full (or the tenant's part of it), or there is no database; done() is not called. */
extern bool batch_add(const AppendRequest *request);
extern void batch_flush(void);
extern void batch_stop(void); /* ends all elements, behind db_stop() */
extern bool batch_busy(void); /* something is queued or in flight */

#endif /* USHERD_BATCH_H */
