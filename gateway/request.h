/*
 * gateway/request.h
 *	  One HTTP request, from its last byte to its reply.
 *
 * The listener makes it, the router finds its route and checks who asks, a
 * handler answers it: exactly one reply_*() each, now or later.  The reply
 * ends the request; when the client has gone meanwhile, connection is NULL and
 * the reply goes nowhere.
 */
#ifndef USHERD_REQUEST_H
#define USHERD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "budget.h"
#include "identity.h"
#include "lib/text.h"
#include "limit.h"

typedef enum Method
{
	METHOD_GET = 1,
	METHOD_POST = 2,
	METHOD_HEAD = 4,
	METHOD_OPTIONS = 8,
	METHOD_PUT = 16,
	METHOD_PATCH = 32,
	METHOD_DELETE = 64,
} Method;

struct Connection;
struct HttpHead;
struct Route;

typedef struct Pair
{
	Slice name, value;
} Pair;

#define REQUEST_ARGUMENTS_MAX 2

typedef struct Request
{
	struct Connection *connection; /* NULL: the client has gone */
	const struct Route *route;
	Arena arena;
	Method method;
	Slice method_name, target; /* as they came */
	Slice path; /* decoded for the journal, without the query */
	Slice arguments[REQUEST_ARGUMENTS_MAX]; /* what stands for the {names} of the route's path */
	Pair *query; /* decoded */
	int nquery;
	Pair *headers; /* names in lower case */
	int nheaders;
	Slice body;
	Text body_text; /* where it lies, unless it was copied */
	BudgetShare *share; /* whose it is */
	Identity *identity; /* set behind the router */
	Address address; /* the client's */
	char request_id[37];
	char traceparent[56]; /* as given, if it is valid, or our own */
	double started; /* the loop's time */
	LimitAnswer rate;
	bool rate_taken;
	Text reply_headers; /* what a handler adds to its reply */
	char etag[64]; /* of the reply of a read; "": one of its body is made */
	/* a handler that waits (parked.c) is told that the client has gone */
	void (*on_gone)(struct Request *request);
	void *state; /* the handler's */
} Request;

/* Absent slices when there is none.  query_int: false, and a 400 was replied, when it is no number in [min, max]. */
extern Slice request_query(const Request *request, const char *name);
extern Slice request_find_header(const Request *request, const char *name, size_t len);
/* name: in lower case. */
static inline Slice
request_header(const Request *request, const char *name)
{
	return request_find_header(request, name, strlen(name));
}
extern bool request_query_int(Request *request, const char *name, int64_t min, int64_t max,
							  int64_t fallback, int64_t *value);

/* Everything of the head is copied; connection is the caller's to set. */
extern Request *request_make(const struct HttpHead *head, const Address *peer);
/* The body is empty then; share: whose it is. */
extern void request_take_body(Request *request, Text *body, BudgetShare *share);
#define REQUEST_BODY_COPIED 1000 /* a body of at most so many bytes may be copied instead */
extern void request_copy_body(Request *request, const char *data, size_t len);
extern void request_free(Request *request);

/* reply.c */
extern bool reply_origin_allowed(Slice origin); /* is it one of cors_origins? */
extern void reply_header(Request *request, const char *name, const char *value);
/* The body is copied (or sent) before it returns.  ETag, 304, gzip, HEAD, CORS and the common headers are done here. */
extern void
reply(Request *request, int status, const char *content_type, const char *body, size_t len);
/* For a stream (listener.h): the head of its reply, which ends with the connection; then, when it was taken, the request ends. */
extern void reply_stream_head(Request *request, const char *content_type, Text *out);
extern void request_taken(Request *request, int status);
extern void reply_json(Request *request, int status, const Text *json);
/*
 * RFC 9457.  kind: the last part of the problem's type, e.g. "wrong-expected-version"; members: further JSON
 * members, beginning with a comma (or NULL).
 */
extern void reply_problem(Request *request, int status, const char *kind, const char *members,
						  const char *detail, ...) __attribute__((format(printf, 5, 6)));
/* What a SQLSTATE means in HTTP: the table is lib/problem.c's. */
extern void reply_sqlstate(Request *request, const char *sqlstate, const char *message,
						   const char *detail, const char *members);
extern void reply_unavailable(Request *request, const char *kind,
							  const char *detail); /* 503 with Retry-After */

#endif /* USHERD_REQUEST_H */
