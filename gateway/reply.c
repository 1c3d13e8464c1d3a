/*
 * gateway/reply.c
 *	  Replies: the headers that all have, problems (RFC 9457), ETags, gzip, CORS, the access log.
 *
 * A reply ends its request: behind it the request is freed.
 */
#include <ev.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "compress.h"
#include "config.h"
#include "db.h"
#include "journal.h"
#include "lib/accept_encoding.h"
#include "lib/problem.h"
#include "listener.h"
#include "metrics.h"
#include "router.h"
#include "usherd.h"

#define PROBLEM_TYPE "application/problem+json"
#define SCRATCH_KEPT \
	65536 /* bytes of what problems are written in; nobody reads them behind reply() */

static const char *
reason(int status)
{
	switch (status)
	{
		case 200:
			return "OK";
		case 201:
			return "Created";
		case 202:
			return "Accepted";
		case 204:
			return "No Content";
		case 304:
			return "Not Modified";
		case 400:
			return "Bad Request";
		case 401:
			return "Unauthorized";
		case 403:
			return "Forbidden";
		case 404:
			return "Not Found";
		case 405:
			return "Method Not Allowed";
		case 406:
			return "Not Acceptable";
		case 408:
			return "Request Timeout";
		case 409:
			return "Conflict";
		case 410:
			return "Gone";
		case 412:
			return "Precondition Failed";
		case 413:
			return "Content Too Large";
		case 415:
			return "Unsupported Media Type";
		case 417:
			return "Expectation Failed";
		case 422:
			return "Unprocessable Content";
		case 426:
			return "Upgrade Required";
		case 429:
			return "Too Many Requests";
		case 431:
			return "Request Header Fields Too Large";
		case 500:
			return "Internal Server Error";
		case 501:
			return "Not Implemented";
		case 503:
			return "Service Unavailable";
		case 505:
			return "HTTP Version Not Supported";
		default:
			return "Status";
	}
}

/* Formed once a second. */
static const char *
http_date(void)
{
	static char text[40];
	static time_t at;
	time_t now = (time_t) ev_now(usherd_loop);

	if (now != at)
	{
		struct tm tm;

		gmtime_r(&now, &tm);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		at = now;
	}
	return text;
}

void
reply_header(Request *request, const char *name, const char *value)
{
	text_puts(&request->reply_headers, name);
	text_add(&request->reply_headers, ": ", 2);
	text_puts(&request->reply_headers, value);
	text_add(&request->reply_headers, "\r\n", 2);
}

/* Is the origin in the list of blanks-separated ones? */
bool
reply_origin_allowed(Slice origin)
{
	const char *at = config.cors_origins;

	while (*at)
	{
		size_t len = strcspn(at, " ");

		if ((len == 1 && *at == '*') || (len == origin.len && memcmp(at, origin.data, len) == 0))
			return true;
		at += len;
		at += strspn(at, " ");
	}
	return false;
}

static void
add_cors(Request *request, Text *out)
{
	Slice origin = request_header(request, "origin");

	if (config.cors_origins[0] == '\0')
		return;
	text_puts(out, "Vary: Origin\r\n");
	if (origin.data == NULL || !reply_origin_allowed(origin))
		return;
	text_puts(out, "Access-Control-Allow-Origin: ");
	text_add(out, origin.data, origin.len);
	text_puts(
		out,
		"\r\nAccess-Control-Expose-Headers: Allow, ETag, Idempotency-Replayed, Location, Request-Id, Retry-After, "
		"Usher-Position, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, traceparent\r\n");
	if (request->method == METHOD_OPTIONS)
		text_puts(
			out,
			"Access-Control-Allow-Headers: Admission-Token, Authorization, Causation-Id, Content-Type, Correlation-Id, "
			"Expected-Version, Idempotency-Key, If-None-Match, Last-Event-ID, Request-Id, Usher-After, "
			"traceparent, ce-dataschema, ce-id, ce-partitionkey, ce-source, ce-specversion, ce-subject, ce-time, "
			"ce-type\r\n"
			"Access-Control-Max-Age: 600\r\n");
}

/* Weak: the same content, maybe compressed otherwise. */
static void
entity_tag(const char *body, size_t len, char tag[24])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	EVP_Digest(body, len, digest, NULL, EVP_sha256(), NULL);
	memcpy(tag, "W/\"", 3);
	for (int i = 0; i < 8; i++)
		snprintf(tag + 3 + 2 * i, 3, "%02x", digest[i]);
	memcpy(tag + 19, "\"", 2);
}

/* If-None-Match: does one of its tags stand for the same content? */
static bool
tag_matches(Slice header, const char *tag)
{
	const char *strong = tag + 2;
	size_t len = strlen(strong);

	if (slice_is(header, "*"))
		return true;
	for (size_t i = 0; header.len >= len && i + len <= header.len; i++)
		if (memcmp(header.data + i, strong, len) == 0)
			return true;
	return false;
}

static void
log_access(const Request *request, int status, size_t bytes)
{
	char address[64];
	double seconds = ev_time() - request->started;
	JournalAccess access = {
		.request_id = request->request_id,
		.traceparent = request->traceparent,
		.method = request->method_name,
		.path = request->path.data ? request->path : (Slice){"", 0},
		.route = request->route ? request->route->path : "",
		.status = status,
		.bytes = (int64_t) bytes,
		.seconds = seconds,
		.address = address,
		.tenant = request->identity ? request->identity->tenant : "",
		.user = request->identity ? request->identity->user : "",
	};

	metrics_request(request->route ? (int) (request->route - usherd_routes) : -1, status, bytes,
					seconds);
	if (config.access_log[0] == '\0')
		return;
	limit_format_address(&request->address, address, sizeof(address));
	journal_access(&access);
}

static void
add_rate(const Request *request, Text *out)
{
	if (!request->rate_taken || request->rate.limit == 0)
		return;
	text_puts(out, "X-RateLimit-Limit: ");
	text_int(out, request->rate.limit);
	text_puts(out, "\r\nX-RateLimit-Remaining: ");
	text_int(out, request->rate.remaining);
	text_puts(out, "\r\nX-RateLimit-Reset: ");
	text_int(out, request->rate.reset_seconds);
	text_puts(out, "\r\n");
}

static void
add_common(Request *request, int status, const char *content_type, size_t len, bool keep_alive,
		   Text *out)
{
	text_puts(out, "HTTP/1.1 ");
	text_int(out, status);
	text_char(out, ' ');
	text_puts(out, reason(status));
	text_puts(out, "\r\nDate: ");
	text_puts(out, http_date());
	text_puts(out, "\r\nRequest-Id: ");
	text_puts(out, request->request_id);
	text_puts(out, "\r\ntraceparent: ");
	text_puts(out, request->traceparent);
	text_puts(out, "\r\n");
	if (content_type)
	{
		text_puts(out, "Content-Type: ");
		text_puts(out, content_type);
		text_puts(out, "\r\nX-Content-Type-Options: nosniff\r\n");
	}
	if (status != 204 && status != 304)
	{
		text_puts(out, "Content-Length: ");
		text_int(out, (int64_t) len);
		text_puts(out, "\r\n");
	}
	if (request->identity && !request->identity->anonymous)
		text_puts(out, "Cache-Control: private, no-cache\r\nVary: Authorization\r\n");
	else
		text_puts(out, "Cache-Control: no-cache\r\n");
	if (!keep_alive)
		text_puts(out, "Connection: close\r\n");
	add_rate(request, out);
	add_cors(request, out);
	text_add(out, request->reply_headers.data ? request->reply_headers.data : "",
			 request->reply_headers.len);
}

/* Is the type one that shrinks? */
static bool
is_text(const char *content_type)
{
	return content_type != NULL &&
		   (strncmp(content_type, "text/", 5) == 0 || strstr(content_type, "json") != NULL ||
			strstr(content_type, "javascript") != NULL || strstr(content_type, "xml") != NULL);
}

/* The body as the client wants it; its headers are added. */
static Slice
encoded_body(Request *request, const char *content_type, const char *body, size_t len)
{
	Slice plain = {body, len}, small;

	if (config.gzip_bytes_min <= 0 || len < (size_t) config.gzip_bytes_min ||
		!is_text(content_type))
		return plain;
	reply_header(request, "Vary", "Accept-Encoding");
	if (!accepts_gzip(request_header(request, "accept-encoding")) ||
		!compress_gzip(body, len, &small))
		return plain;
	reply_header(request, "Content-Encoding", "gzip");
	return small;
}

void
reply(Request *request, int status, const char *content_type, const char *body, size_t len)
{
	Slice encoded;
	static Text out;
	bool keep_alive;
	char tag[64];

	if (request->connection == NULL)
	{
		log_access(request, 499, 0); /* the client did not wait */
		request_free(request);
		return;
	}
	keep_alive = connection_keeps_alive(request->connection);
	if (status == 200 && (request->method == METHOD_GET || request->method == METHOD_HEAD))
	{
		Slice known = request_header(request, "if-none-match");

		if (request->etag[0] != '\0')
			memcpy(tag, request->etag, sizeof(tag));
		else
			entity_tag(body, len, tag);
		reply_header(request, "ETag", tag);
		if (known.data && tag_matches(known, tag))
		{
			status = 304;
			content_type = NULL;
			len = 0;
		}
	}
	encoded = encoded_body(request, content_type, body, len);
	out.len = 0;
	add_common(request, status, content_type, encoded.len, keep_alive, &out);
	text_add(&out, "\r\n", 2);
	if (request->method == METHOD_HEAD)
		encoded.len = 0;
	text_add(&out, encoded.data, encoded.len);
	log_access(request, status, encoded.len);
	connection_reply(request->connection, out.data, out.len, !keep_alive);
	request_free(request);
}

void
reply_stream_head(Request *request, const char *content_type, Text *out)
{
	text_printf(
		out,
		"HTTP/1.1 200 OK\r\nDate: %s\r\nRequest-Id: %s\r\ntraceparent: %s\r\nContent-Type: %s\r\n"
		"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
		"Connection: close\r\n",
		http_date(), request->request_id, request->traceparent, content_type);
	add_rate(request, out);
	add_cors(request, out);
	text_add(out, "\r\n", 2);
}

void
request_taken(Request *request, int status)
{
	log_access(request, status, 0);
	request_free(request);
}

void
reply_json(Request *request, int status, const Text *json)
{
	reply(request, status, "application/json", json->data, json->len);
}

static void
send_problem(Request *request, int status, const char *kind, const char *title,
			 const char *sqlstate, const char *members, const char *detail)
{
	static Text json;

	json.len = 0;
	text_puts(&json, "{\"type\":\"https://pg-usher.org/problems/");
	text_puts(&json, kind);
	text_puts(&json, "\",\"title\":");
	text_json(&json, title, strlen(title));
	text_puts(&json, ",\"status\":");
	text_int(&json, status);
	text_puts(&json, ",\"detail\":");
	text_json(&json, detail, strlen(detail));
	if (sqlstate)
	{
		text_puts(&json, ",\"code\":");
		text_json(&json, sqlstate, strlen(sqlstate));
	}
	text_puts(&json, ",\"request_id\":");
	text_json(&json, request->request_id, strlen(request->request_id));
	if (members)
		text_puts(&json, members);
	text_char(&json, '}');
	reply(request, status, PROBLEM_TYPE, json.data, json.len);
	if (json.size > SCRATCH_KEPT)
		text_free(&json);
}

void
reply_problem(Request *request, int status, const char *kind, const char *members,
			  const char *detail, ...)
{
	char text[512];
	char title[64];
	va_list arguments;

	va_start(arguments, detail);
	vsnprintf(text, sizeof(text), detail, arguments);
	va_end(arguments);
	snprintf(title, sizeof(title), "%s", kind);
	for (char *p = title; *p; p++)
		if (*p == '-')
			*p = ' ';
	send_problem(request, status, kind, title, NULL, members, text);
}

void
reply_sqlstate(Request *request, const char *sqlstate, const char *message, const char *detail,
			   const char *members)
{
	const Problem *problem = problem_of(sqlstate);
	static Text text;
	char seconds[16];

	if (problem->retry_after_seconds > 0)
	{
		snprintf(seconds, sizeof(seconds), "%d", problem->retry_after_seconds);
		reply_header(request, "Retry-After", seconds);
	}
	if (problem->status == 500)
		journal(JOURNAL_ERROR, "request %s: the database says %s: %s", request->request_id,
				sqlstate, message);
	text.len = 0;
	text_puts(&text, problem->shown ? message : problem->title);
	if (problem->shown && detail && detail[0])
	{
		text_puts(&text, ": ");
		text_puts(&text, detail);
	}
	send_problem(request, problem->status, problem->kind, problem->title, sqlstate, members,
				 text.data);
	if (text.size > SCRATCH_KEPT)
		text_free(&text);
}

void
reply_unavailable(Request *request, const char *kind, const char *detail)
{
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%d", db_retry_after_seconds());
	reply_header(request, "Retry-After", seconds);
	reply_problem(request, 503, kind, NULL, "%s", detail);
}
