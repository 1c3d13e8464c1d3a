/*
 * gateway/request.c
 *	  A request from its head, and what a handler asks of it.
 */
#include <ev.h>
#include <inttypes.h>
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

Request *
request_make(const HttpHead *head, const Address *peer)
{
	Request *request = calloc(1, sizeof(Request));
	Slice trace, id;

	if (request == NULL)
		abort();
	request->started = ev_now(usherd_loop);
	request->nheaders = head->nfields;
	request->headers = arena_alloc(&request->arena, sizeof(Pair) * (size_t) (head->nfields + 1));
	for (int i = 0; i < head->nfields; i++)
	{
		Pair *pair = &request->headers[i];

		pair->name = arena_slice(&request->arena, head->fields[i].name);
		pair->value = arena_slice(&request->arena, head->fields[i].value);
		for (size_t k = 0; k < pair->name.len; k++)
			if (pair->name.data[k] >= 'A' && pair->name.data[k] <= 'Z')
				((char *) pair->name.data)[k] += 'a' - 'A';
	}
	request->method_name = arena_slice(&request->arena, head->method);
	request->target = arena_slice(&request->arena, head->target);
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
find(const Pair *pairs, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (slice_is(pairs[i].name, name))
			return pairs[i].value;
	return (Slice){NULL, 0};
}

Slice
request_query(const Request *request, const char *name)
{
	return find(request->query, request->nquery, name);
}

Slice
request_header(const Request *request, const char *name)
{
	return find(request->headers, request->nheaders, name);
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
request_free(Request *request)
{
	budget_change(request->share, -(int64_t) request->body_text.size);
	budget_release(request->share);
	text_free(&request->body_text);
	if (request->identity)
		identity_release(request->identity);
	text_free(&request->reply_headers);
	arena_free(&request->arena);
	free(request);
}
