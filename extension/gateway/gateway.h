/*
 * extension/gateway/gateway.h
 *	  Appends of many clients in one transaction: what the files of this room
 *	  offer each other and the room above.
 *
 *	  request.c   an element of the call -> UsherRequest, checked
 *	  refusal.c   what is wrong with an element becomes its result
 *	  keys.c      idempotency keys of the elements
 *	  batch.c     locks of all elements, then the turn of each
 *
 * An element is all or nothing, and has its own tenant and actor.  What can be
 * refused is found before its first write, so that no savepoint is needed: the
 * checks raise errors as everywhere, and usher_request_try() catches those
 * that are the client's matter.  They hold nothing when they raise.  Any other
 * error, and any of a projection, ends the call.
 *
 * Locks are taken for the whole call before its first write, in this order:
 * idempotency keys (who finds one taken does not wait), event ids, streams;
 * each kind sorted.  All memory is the caller's.
 */
#ifndef USHER_GATEWAY_H
#define USHER_GATEWAY_H

#include "idempotency/once.h"
#include "log/log.h"

/* An event of an element, and what became of it. */
typedef struct UsherRequestEvent
{
	UsherEvent event;
	text *stream; /* NULL: published */
	bool has_expected;
	int64 expected;
	int flags_before; /* of the stream, while versions are checked */
	int64 version; /* 0: published */
	int64 position; /* 0: not known before the commit, or not in the log any more */
	int ordinal; /* of this transaction's events, from 1; 0: committed before */
} UsherRequestEvent;

typedef struct UsherRequest
{
	int element; /* of the call, from 0 */
	int32 tenant_id;
	char *tenant;
	char *actor; /* JSON; "" for nobody */
	char *correlation_id, *causation_id, *traceparent; /* "" for none */
	UsherRequestEvent *events;
	int nevents;
	bool has_key;
	UsherOnceKey key;
	bytea *fingerprint;
	bool replayed; /* nothing was written: the events are the original's */
	ErrorData *refusal; /* NULL: none */
	int event_index; /* of the event in work; -1: the whole element */
	int64 actual_version; /* of a refusal for a wrong one; -1 */
} UsherRequest;

/* ---- request.c ---- */
typedef struct UsherRequestParser
{
	TupleDesc request_desc, event_desc;
	MemoryContext scratch; /* reset for each JSON text */
	text *tenant; /* of the element before, and its id */
	int32 tenant_id;
} UsherRequestParser;

extern void usher_request_parse(UsherRequestParser *parser, UsherRequest *request, Datum element);
extern Jsonb *usher_request_kept(Jsonb *value, MemoryContext caller);
extern void usher_request_tuple(Datum value, TupleDesc *desc, Datum *values, bool *nulls);

/* ---- refusal.c ---- */
typedef void (*UsherRequestStep)(UsherRequest *request, void *arg);

extern bool usher_request_try(UsherRequest *request, UsherRequestStep step, void *arg);

/* ---- keys.c ---- */
extern void usher_request_key(UsherRequest *request, const text *user, text *key);
extern void usher_request_keys_lock(UsherRequest *requests, int n);
extern void usher_request_keys_write(UsherRequest *requests, int n);

/* ---- batch.c ---- */
extern void usher_requests_append(UsherRequest *requests, int n);

#endif /* USHER_GATEWAY_H */
