/*
 * gateway/request.c
 *	  A request from its head, and what a handler asks of it.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "lib/http_head.h"
#include "request.h"
#include "usherd.h"

static bool
valid_traceparent(Slice text)
{
	bool trace = false, span = false;

	if (text.len != 55 || memcmp(text.data, "00-", 3) != 0 || text.data[35] != '-' ||
		text.data[52] != '-')
		return false;
	for (int i = 3; i < 55; i++)
	{
		char ch = text.data[i];

		if (i == 35 || i == 52)
			continue;
		if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f')))
			return false;
		if (ch != '0' && i < 35)
			trace = true;
		if (ch != '0' && i > 35 && i < 52)
			span = true;
	}
	return trace && span;
}

static bool
plain_id(Slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.",
				   text.data[i]) == NULL)
			return false;
	return text.len > 0 && text.len <= 36;
}

/*
 * Memory
 *
 * Of a request and of what it mostly needs; some of it waits for the next one.
 */

#define MEMORY_BYTES 3000
#define HEADERS_KEPT 1024
#ifdef __SANITIZE_ADDRESS__
#define SPARES_MAX 0 /* whoever uses one that has ended is to be seen */
#else
#define SPARES_MAX 512
#endif

typedef struct RequestMemory
{
	Request request;
	alignas(max_align_t) char memory[MEMORY_BYTES];
} RequestMemory;

static RequestMemory *spares[SPARES_MAX + 1];
static int nspares;

static Request *
memory_take(void)
{
	RequestMemory *memory = nspares > 0 ? spares[--nspares] : calloc(1, sizeof(RequestMemory));
	Text headers;

	if (memory == NULL)
		abort();
	headers = memory->request.reply_headers;
	memset(&memory->request, 0, sizeof(memory->request));
	memory->request.reply_headers = (Text){headers.data, 0, headers.size};
	arena_begin(&memory->request.arena, memory->memory, sizeof(memory->memory));
	return &memory->request;
}

static void
memory_give(Request *request)
{
	RequestMemory *memory = (RequestMemory *) request;

	arena_free(&request->arena);
	if (nspares == SPARES_MAX || request->reply_headers.size > HEADERS_KEPT)
		text_free(&request->reply_headers);
	if (nspares == SPARES_MAX)
		free(memory);
	else
		spares[nspares++] = memory;
}

/*
 * The head
 */

typedef struct Copy
{
	const char *from;
	char *to;
} Copy;

/* The same in the copy, where what stands behind it (a colon, a blank, a line's end) becomes a zero byte. */
static Slice
copied(Copy copy, Slice slice)
{
	char *at = copy.to + (slice.data - copy.from);

	at[slice.len] = '\0';
	return (Slice){at, slice.len};
}

/* All of it at once: what is wanted lies between the method and the last field's value. */
static void
copy_head(Request *request, const HttpHead *head)
{
	const HttpField *last = head->nfields > 0 ? &head->fields[head->nfields - 1] : NULL;
	const char *end = last ? last->value.data + last->value.len
						   : head->target.data + head->target.len;
	Copy copy = {head->method.data, NULL};

	request->nheaders = head->nfields;
	request->headers = arena_alloc(&request->arena, sizeof(Pair) * (size_t) (head->nfields + 1));
	if (head->method.data == NULL)
		return;
	copy.to = arena_copy(&request->arena, copy.from, (size_t) (end - copy.from));
	for (int i = 0; i < head->nfields; i++)
	{
		Pair *pair = &request->headers[i];

		pair->name = copied(copy, head->fields[i].name);
		pair->value = copied(copy, head->fields[i].value);
		for (char *at = (char *) pair->name.data; *at != '\0'; at++)
			if (*at >= 'A' && *at <= 'Z')
				*at += 'a' - 'A';
	}
	request->method_name = copied(copy, head->method);
	request->target = copied(copy, head->target);
}

Request *
request_make(const HttpHead *head, const Address *peer)
{
	Request *request = memory_take();
	Slice trace, id;

	request->started = ev_now(usherd_loop);
	copy_head(request, head);
	id = request_header(request, "request-id");
	if (id.data != NULL && plain_id(id))
		snprintf(request->request_id, sizeof(request->request_id), "%.*s", (int) id.len, id.data);
	else
		usherd_random_hex(request->request_id, 32);
	trace = request_header(request, "traceparent");
	if (trace.data != NULL && valid_traceparent(trace))
		memcpy(request->traceparent, trace.data, 55);
	else
	{
		memcpy(request->traceparent, "00-", 3);
		usherd_random_hex(request->traceparent + 3, 32);
		request->traceparent[35] = '-';
		usherd_random_hex(request->traceparent + 36, 16);
		memcpy(request->traceparent + 52, "-00", 4);
	}
	request->address = limit_client(peer, request_header(request, "x-forwarded-for"));
	return request;
}

static Slice
find(const Pair *pairs, int n, const char *name, size_t len)
{
	for (int i = 0; i < n; i++)
		if (pairs[i].name.len == len && memcmp(pairs[i].name.data, name, len) == 0)
			return pairs[i].value;
	return (Slice){NULL, 0};
}

Slice
request_query(const Request *request, const char *name)
{
	return find(request->query, request->nquery, name, strlen(name));
}

Slice
request_find_header(const Request *request, const char *name, size_t len)
{
	return find(request->headers, request->nheaders, name, len);
}

bool
request_query_int(Request *request, const char *name, int64_t min, int64_t max, int64_t fallback,
				  int64_t *value)
{
	Slice text = request_query(request, name);

	*value = fallback;
	if (text.data == NULL || slice_int(text, min, max, value))
		return true;
	reply_problem(request, 400, "invalid-parameter", NULL,
				  "%s is not a number from %" PRId64 " to %" PRId64, name, min, max);
	return false;
}

void
request_take_body(Request *request, Text *body, BudgetShare *share)
{
	request->body_text = *body;
	request->body = body->len > 0 ? (Slice){body->data, body->len} : (Slice){"", 0};
	*body = (Text){NULL, 0, 0};
	request->share = budget_keep(share);
	budget_change(share, (int64_t) request->body_text.size);
}

void
request_copy_body(Request *request, const char *data, size_t len)
{
	request->body = arena_slice(&request->arena, (Slice){data, len});
}

void
request_free(Request *request)
{
	budget_change(request->share, -(int64_t) request->body_text.size);
	budget_release(request->share);
	text_free(&request->body_text);
	if (request->identity)
		identity_release(request->identity);
	memory_give(request);
}
