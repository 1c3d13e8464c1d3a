/*
 * gateway/handlers/sse.c
 *	  GET /v1/sse: the log as server-sent events (WHATWG HTML, 9.2).
 *
 * `id:` is the position, so that Last-Event-ID resumes behind it.  A block with
 * an id alone comes every 15 seconds: it tells how far the log was read, and
 * keeps the connection alive.  The reply ends with its connection.
 */
#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../config.h"
#include "../live.h"
#include "../router.h"
#include "../usherd.h"
#include "handlers.h"

#define HEARTBEAT_SECONDS 15
#define RETRY_MS          1000

typedef struct Sse
{
	Client client; /* first: a Client is its Sse */
	LiveStream live;
	Connection *connection;
	double written;
} Sse;

static Sse *
sse_of(LiveStream *live)
{
	return (Sse *) ((char *) live - offsetof(Sse, live));
}

static void
sse_write(Sse *sse, const Text *text)
{
	sse->written = ev_now(usherd_loop);
	connection_write(sse->connection, text->data, text->len);
}

static bool
sse_choked(Client *client)
{
	Sse *sse = (Sse *) client;

	if (!connection_choked(sse->connection))
		return false;
	connection_want_write(sse->connection);
	return true;
}

/* Each event has its position in front: {"position":N, as event_json() writes it. */
static int64_t
position_of(Slice event)
{
	return strtoll(event.data + strlen("{\"position\":"), NULL, 10);
}

static Frame *
sse_frame(const Subscription *of, const Slice *events, int n, int64_t position)
{
	Text text = {0};
	size_t bytes = 64;
	int64_t last = 0;

	(void) of;
	for (int i = 0; i < n; i++)
		bytes += events[i].len + 40;
	text_reserve(&text, bytes);
	for (int i = 0; i < n; i++)
	{
		last = position_of(events[i]);
		text_printf(&text, "id: %" PRId64 "\ndata: ", last);
		text_add(&text, events[i].data, events[i].len);
		text_add(&text, "\n\n", 2);
	}
	if (position > last)
		text_printf(&text, "id: %" PRId64 "\n\n", position);
	return frame_of(&text, 0);
}

static void
sse_send(Client *client, Frame *frame)
{
	Sse *sse = (Sse *) client;

	sse->written = ev_now(usherd_loop);
	connection_send(sse->connection, frame);
}

static void
sse_caught_up(Client *client, Subscription *of)
{
	Text text = {0};

	text_printf(&text, "event: caught_up\nid: %" PRId64 "\ndata: {\"position\":%" PRId64 "}\n\n",
				of->position, of->position);
	sse_write((Sse *) client, &text);
	text_free(&text);
}

/* It is told, and goes on where the log still has everything. */
static void
sse_gone(Client *client, Subscription *of, int64_t oldest)
{
	Sse *sse = (Sse *) client;
	Subscription *again;
	Text text = {0};

	text_printf(&text, "event: gone\nid: %" PRId64 "\ndata: {\"oldest\":%" PRId64 "}\n\n",
				oldest - 1, oldest);
	sse_write(sse, &text);
	text_free(&text);
	again = subscription_make(client, (Slice){"", 0}, subscription_filter(of));
	subscription_end(of);
	subscription_start(again, oldest - 1);
}

static Frame *
sse_signal(Slice topic, Slice data)
{
	Text text = {0};

	text_puts(&text, "event: signal\ndata: {\"topic\":");
	text_json(&text, topic.data, topic.len);
	text_puts(&text, ",\"data\":");
	text_add(&text, data.data, data.len);
	text_puts(&text, "}\n\n");
	return frame_of(&text, 0);
}

static const Transport transport = {sse_choked,    sse_frame, sse_send,
									sse_caught_up, sse_gone,  sse_signal};

static void
sse_freed(Client *client)
{
	free((Sse *) client);
}

static void
on_data(void *stream, const char *data, size_t len)
{
	(void) stream, (void) data, (void) len; /* nothing is asked on this connection any more */
}

static void
on_writable(void *stream)
{
	fanout_writable(stream);
}

static void
on_close(void *stream)
{
	Sse *sse = stream;

	live_end(&sse->live);
	client_end(&sse->client);
}

static const StreamOps stream_ops = {on_data, on_writable, on_close};

static void
live_stop(LiveStream *live, int code, const char *reason)
{
	Sse *sse = sse_of(live);
	Text text = {0};

	text_printf(&text, "event: end\ndata: {\"code\":%d,\"reason\":", code);
	text_json(&text, reason, strlen(reason));
	text_puts(&text, "}\n\n");
	sse_write(sse, &text);
	text_free(&text);
	connection_end(sse->connection);
}

static void
live_second(LiveStream *live, double now)
{
	Sse *sse = sse_of(live);
	const Subscription *s = sse->client.subscriptions;
	Text text = {0};

	if (now - sse->written < HEARTBEAT_SECONDS || connection_choked(sse->connection))
		return;
	text_printf(&text, "id: %" PRId64 "\n\n",
				s == NULL || s->live ? client_position(&sse->client) : s->position);
	sse_write(sse, &text);
	text_free(&text);
}

/* types=a.*,b.** and streams=…: separated by commas. */
static bool
take_list(Request *request, LiveFilter *filter, bool stream)
{
	Slice list = request_query(request, stream ? "streams" : "types");
	const char *at = list.data, *end = list.data + list.len;

	while (list.data && at < end)
	{
		const char *comma = memchr(at, ',', (size_t) (end - at));
		size_t len = (size_t) ((comma ? comma : end) - at);
		const char *fault = live_add_pattern(filter, stream, (Slice){at, len}, request->identity);

		if (fault)
		{
			reply_problem(request, 400, "invalid-parameter", NULL, "%s", fault);
			return false;
		}
		at += len + 1;
	}
	return true;
}

static bool
take_members(Request *request, LiveFilter *filter)
{
	Slice text = request_query(request, "filter");
	const char *message;
	JsonFault fault;

	if (text.data == NULL)
		return true;
	text = arena_slice(&filter->arena, text);
	if (!json_check(text.data, text.len, config.json_depth_max, &filter->filter.members, &fault))
		message = fault.message;
	else
		message = filter_members_fault(filter->filter.members);
	if (message == NULL)
		return true;
	reply_problem(request, 400, "invalid-parameter", NULL, "filter: %s", message);
	return false;
}

/* Where to begin: Last-Event-ID, else after, else now. */
static bool
take_after(Request *request, int64_t *after)
{
	Slice last = request_header(request, "last-event-id");

	if (!request_query_int(request, "after", 0, INT64_MAX, -1, after))
		return false;
	if (last.data == NULL || slice_int(last, 0, INT64_MAX, after))
		return true;
	reply_problem(request, 400, "invalid-header", NULL, "Last-Event-ID is a position");
	return false;
}

static void
begin(Request *request, const LiveFilter *filter, int64_t after)
{
	Sse *sse = calloc(1, sizeof(Sse));
	Connection *connection = request->connection;
	const char *reason = NULL;
	Text head = {0};

	if (sse == NULL)
		abort();
	sse->connection = connection;
	sse->client.transport = &transport;
	sse->client.freed = sse_freed;
	sse->live = (LiveStream){.second = live_second, .end = live_stop};
	live_begin(&sse->live, &sse->client);
	if (live_admit(&sse->live, request->identity, &reason) != 0)
		reason = reason ? reason : "it is not let in";
	else if (!live_subscription_allowed(&sse->live))
		reason = "the user has too many subscriptions";
	else if (!live_connection_allowed(connection))
		reason = "too many connections of this tenant";
	if (sse->client.identity)
		identity_keep(request->identity);
	if (reason)
	{
		live_end(&sse->live);
		identity_release(sse->client.identity);
		free(sse);
		reply_header(request, "Retry-After", "10");
		reply_problem(request, 429, "too-many", NULL, "%s", reason);
		return;
	}
	reply_stream_head(request, "text/event-stream", &head);
	text_printf(&head, "retry: %d\nid: %" PRId64 "\n\n", RETRY_MS,
				after < 0 ? fanout_position() : after);
	sse->written = ev_now(usherd_loop);
	connection_take(connection, &stream_ops, sse, head.data, head.len);
	request_taken(request, 200);
	client_begin(&sse->client);
	text_free(&head);
	subscription_start(subscription_make(&sse->client, (Slice){"", 0}, &filter->filter), after);
	connection_feed(connection);
}

void
handle_sse(Request *request)
{
	LiveFilter filter = {0};
	int64_t after;

	if (!fanout_ready())
	{
		reply_unavailable(request, "unavailable", "the end of the log is not known yet");
		return;
	}
	if (!live_origin_allowed(request))
	{
		reply_problem(request, 403, "origin", NULL, "pages of this origin are not served");
		return;
	}
	if (take_list(request, &filter, false) && take_list(request, &filter, true) &&
		take_members(request, &filter) && take_after(request, &after))
	{
		if (!live_allowed(&filter.filter, request->identity))
			reply_problem(request, 403, "forbidden", NULL,
						  "this needs the scope \"subscribe\" for the patterns");
		else if (request->connection == NULL || request->method == METHOD_HEAD)
			reply(request, 200, "text/event-stream", "", 0);
		else
			begin(request, &filter, after);
	}
	live_filter_free(&filter);
}
