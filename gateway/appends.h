/*
 * gateway/appends.h
 *	  Appends, which travel together (batch.h) to usher.append_requests.
 */
#ifndef USHERD_APPENDS_H
#define USHERD_APPENDS_H

#include "batch.h"

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

typedef struct AppendResult
{
	BatchResult known;
	int event_index; /* -1: of the whole request */
	int64_t actual_version; /* -1: not about a version */
	const AppendedEvent *events; /* as many as were given, when it is done */
} AppendResult;

/* One request: its events are appended all or none. */
typedef struct AppendRequest
{
	Element element; /* the user is for usher.actor */
	const char *actor_type;
	unsigned char fingerprint[32]; /* with a key */
	Slice correlation_id, causation_id, traceparent;
	const AppendEvent *events;
	int nevents;
	void (*done)(struct AppendRequest *request, const AppendResult *result);
	void *context;
} AppendRequest;

/* batch_add(&append_kind, &request->element); then done() is called once. */
extern BatchKind append_kind;

#endif /* USHERD_APPENDS_H */
