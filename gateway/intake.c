/*
 * gateway/intake.c
 *	  From the bytes of a connection to requests.
 *
 *		head ─► framing, room ─► router_admit(): route, who asks, how often ─► 100 Continue ─► body ─► handler
 *		                              └► refused: the reply goes out, and the body is read and dropped
 *
 * Nothing of a body is kept before its sender has been let in; whoever looks up
 * credentials in the database meanwhile leaves the connection in CHECK.  What
 * comes ahead waits in the connection, READ_AHEAD_MAX of it at most.
 */
#include "config.h"
#include "connection.h"
#include "lib/http_head.h"
#include "router.h"

#define READ_AHEAD_MAX 65536 /* what a client may send behind a request that is in flight */

static const char overloaded[] = "the server holds as many bytes of requests as it takes";

/* The request in flight ends with a problem, and the connection with it: nobody knows where a next one begins. */
static void
refuse(Connection *c, int status, const char *kind, const char *detail)
{
	c->keep_alive = false;
	reply_problem(c->request, status, kind, NULL, "%s", detail);
}

void
intake_too_slow(Connection *c)
{
	if (c->state == STATE_BODY)
		refuse(c, 408, "too-slow", "the body came too slowly");
	else
		connection_kill(c);
}

static void
refuse_for_room(Connection *c)
{
	budget_refused();
	reply_unavailable(c->request, "overloaded", overloaded);
}

static void
refuse_for_requests(Connection *c)
{
	reply_unavailable(c->request, "too-many-requests-in-flight",
					  "the server has as many requests as it takes");
}

/* A request for what is no head of one. */
static void
request_of_nothing(Connection *c)
{
	static const HttpHead nothing = {.nfields = 0};

	c->request = request_make(&nothing, &c->peer);
	c->request->connection = c;
	c->request->method_name = (Slice){"-", 1};
	c->request->target = (Slice){"-", 1};
	connection_request_begins();
	c->keep_alive = false;
	connection_enter(c, STATE_BUSY);
}

static void
refuse_head(Connection *c, HttpHeadResult result)
{
	request_of_nothing(c);
	if (result == HTTP_HEAD_VERSION)
		refuse(c, 505, "http-version", "only the versions 1.0 and 1.1 of HTTP are spoken here");
	else if (result == HTTP_HEAD_FIELDS || result == HTTP_HEAD_MORE)
		refuse(c, 431, "headers-too-large", "the head of the request is too large");
	else
		refuse(c, 400, "malformed-request", "the head of the request is malformed");
}

/* Which of two would count is anybody's guess.  false: the request was refused. */
static bool
check_single(Connection *c, const HttpHead *head)
{
#define NAME(text)             \
	{                          \
		text, sizeof(text) - 1 \
	}
	static const Slice names[] = {NAME("authorization"),    NAME("content-type"),
								  NAME("expected-version"), NAME("idempotency-key"),
								  NAME("expect"),           NAME("content-encoding"),
								  NAME("usher-after"),      NAME("last-event-id")};
#undef NAME

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		bool twice;

		http_head_find(head, names[i].data, names[i].len, &twice);
		if (!twice)
			continue;
		refuse(c, 400, "malformed-request", "a field that may stand once stands twice");
		return false;
	}
	return true;
}

/* How the body is framed; false: it was refused. */
static bool
begin_body(Connection *c, const HttpHead *head)
{
	bool twice_length, twice_encoding;
	Slice length = http_head_field(head, "content-length", &twice_length);
	Slice encoding = http_head_field(head, "transfer-encoding", &twice_encoding);
	Slice expect = request_header(c->request, "expect");
	FramingFault fault = framing_of(length, twice_length, encoding, twice_encoding,
									head->minor_version, config.body_bytes_max, &c->framing);

	if (fault != FRAMING_OK)
	{
		refuse(c, framing_status(fault),
			   fault == FRAMING_TOO_LARGE ? "body-too-large" : "malformed-framing",
			   framing_message(fault));
		return false;
	}
	if (expect.data != NULL && !slice_is_nocase(expect, "100-continue"))
	{
		refuse(c, 417, "expectation-failed",
			   "the only expectation that is met is \"100-continue\"");
		return false;
	}
	c->body_missing = c->framing.chunked ? 0 : c->framing.length;
	c->body_received = 0;
	c->unread = c->framing.chunked || c->body_missing > 0;
	c->expects = expect.data != NULL;
	chunked_begin(&c->chunks, config.body_bytes_max);
	return true;
}

/* Is there room for it? Only the administration gets in when there is none.  false: it was refused. */
static bool
check_room(Connection *c)
{
	if (c->admin)
		return true;
	if (connection_requests_too_many())
		refuse_for_requests(c);
	else if (!budget_has_room(NULL, 0))
		refuse_for_room(c);
	else
		return true;
	return false;
}

static void
consume(Connection *c, size_t used)
{
	connection_use(c, used);
	c->scanned = 0;
}

/* The head has not ended yet; false, as nothing can be done. */
static bool
wait_for_head(Connection *c, size_t looked_at)
{
	c->scanned = looked_at;
	if (!c->admin && !budget_has_room(c->share, 0))
	{
		request_of_nothing(c);
		refuse_for_room(c);
	}
	return false;
}

/* false: more bytes are needed, or the connection ends. */
static bool
advance_head(Connection *c)
{
	HttpHead head;
	size_t used = 0;
	HttpHeadResult result = http_head_parse(c->in.data, c->in.len, c->scanned, &head, &used);

	if (result == HTTP_HEAD_MORE && used <= (size_t) config.header_bytes_max)
		return wait_for_head(c, used);
	if (result == HTTP_HEAD_OK && used > (size_t) config.header_bytes_max)
		result = HTTP_HEAD_FIELDS;
	if (result != HTTP_HEAD_OK)
	{
		refuse_head(c, result);
		return false;
	}
	c->request = request_make(&head, &c->peer);
	c->request->connection = c;
	c->unread = c->expects = false;
	connection_request_begins();
	c->keep_alive = !connection_draining() &&
					(head.minor_version > 0
						 ? !http_head_list_has(&head, "connection", "close")
						 : http_head_list_has(&head, "connection", "keep-alive"));
	if (!check_single(c, &head) || !begin_body(c, &head))
		return false;
	/* Behind this the head's slices point nowhere: the request has copies. */
	consume(c, used);
	connection_enter(c, STATE_CHECK);
	if (check_room(c))
		router_admit(c->request, c->admin);
	return true;
}

static void
dispatch(Connection *c)
{
	Request *request = c->request;

	c->unread = false;
	if (request->body.data == NULL)
		request_take_body(request, &c->body, c->share);
	connection_enter(c, STATE_BUSY);
	router_handle(request);
}

void
connection_admitted(Connection *c)
{
	const Identity *who = c->request->identity;

	connection_belongs(c, who->anonymous ? NULL : who->tenant);
	if (!c->admin && !budget_has_room(c->share, c->body_missing))
	{
		refuse_for_room(c);
		return;
	}
	if (!c->admin && !connection_request_admitted(c))
	{
		refuse_for_requests(c);
		return;
	}
	if (!c->unread)
	{
		dispatch(c);
		return;
	}
	connection_enter(c, STATE_BODY);
	/* The client waits with its body until it is told to go on; it was, unless the body is here already. */
	if (c->expects && c->in.len == 0 &&
		!connection_write_now(c, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		return;
	c->expects = false;
	connection_read(c, !c->full);
	if (!c->advancing)
		connection_advance(c);
}

/* What comes of a body that nobody reads any more is dropped: body NULL. */
static ChunkedResult
read_chunks(Connection *c, Text *body)
{
	const char *at = c->in.data ? c->in.data : "";
	size_t left = c->in.len;
	ChunkedResult result;
	Slice payload;

	while ((result = chunked_next(&c->chunks, &at, &left, &payload)) == CHUNKED_DATA)
		if (body != NULL)
			text_add(body, payload.data, payload.len);
	consume(c, c->in.len - left);
	return result;
}

static ChunkedResult
read_length(Connection *c, Text *body)
{
	size_t take = (int64_t) c->in.len < c->body_missing ? c->in.len : (size_t) c->body_missing;

	if (take > 0)
	{
		/* mostly it came with the head, all of it */
		if (body != NULL && body->len == 0 && (int64_t) take == c->body_missing &&
			take <= REQUEST_BODY_COPIED)
			request_copy_body(c->request, c->in.data, take);
		else if (body != NULL)
			text_add(body, c->in.data, take);
		consume(c, take);
		c->body_missing -= (int64_t) take;
	}
	return c->body_missing == 0 ? CHUNKED_DONE : CHUNKED_MORE;
}

/* false: more bytes are needed, or the body was refused. */
static bool
advance_body(Connection *c)
{
	switch (c->framing.chunked ? read_chunks(c, &c->body) : read_length(c, &c->body))
	{
		case CHUNKED_DONE:
			dispatch(c);
			return true;
		case CHUNKED_INVALID:
			refuse(c, 400, "malformed-framing", "the chunked body is malformed");
			return false;
		case CHUNKED_TOO_LARGE:
			refuse(c, 413, "body-too-large", "the body is larger than this server takes");
			return false;
		default:
			connection_account(c);
			if (!c->admin && !budget_has_room(c->share, 0))
			{
				c->keep_alive = false;
				refuse_for_room(c);
			}
			return false;
	}
}

/* The body of a request that was refused by its head. */
static bool
advance_skip(Connection *c)
{
	switch (c->framing.chunked ? read_chunks(c, NULL) : read_length(c, NULL))
	{
		case CHUNKED_DONE:
			c->unread = false;
			if (connection_draining())
			{
				connection_linger(c, CONNECTION_LINGER_SECONDS);
				return false;
			}
			connection_enter(c, STATE_HEAD);
			return true;
		case CHUNKED_MORE:
			return false;
		default:
			connection_linger(c, CONNECTION_LINGER_SECONDS);
			return false;
	}
}

/* Does with what was read all that can be done now. */
void
connection_advance(Connection *c)
{
	bool more = true;

	c->advancing = true;
	while (more)
	{
		if (c->state == STATE_HEAD)
			more = !c->full && c->in.len > 0 && advance_head(c);
		else if (c->state == STATE_BODY)
			more = advance_body(c);
		else if (c->state == STATE_SKIP)
			more = !c->full && advance_skip(c);
		else
			more = false;
	}
	c->advancing = false;
	connection_account(c);
	intake_pause(c);
}

/*
 * While a request is at work nothing is read behind it, so that who has sent all his requests may end his side
 * and still gets his replies.  Only of a request that waits for events the end of its client matters.
 */
void
intake_pause(Connection *c)
{
	if (c->state == STATE_BUSY || c->state == STATE_CHECK)
		connection_read(c, c->watched && !c->full && c->in.len <= READ_AHEAD_MAX);
}
