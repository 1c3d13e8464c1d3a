/*
 * gateway/live.c
 *	  What WebSocket and server-sent events share.
 */
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "live.h"
#include "usherd.h"

#define DRAIN_DELAY_MS 1000 /* clients come back spread over some time behind it */

static struct
{
	LiveStream *first;
	ev_timer timer;
} live;

const char *
live_add_pattern(LiveFilter *filter, bool stream, Slice pattern, const Identity *identity)
{
	static const char user[] = "{user}";
	int *n = stream ? &filter->filter.nstreams : &filter->filter.ntypes;
	const char *at = memmem(pattern.data, pattern.len, user, sizeof(user) - 1);
	size_t front;

	filter->filter.types = filter->types;
	filter->filter.streams = filter->streams;
	if (*n == FILTER_PATTERNS_MAX)
		return "there are too many patterns";
	if (pattern.len == 0 || pattern.len > 255)
		return "a pattern has 1 to 255 bytes";
	if (at != NULL)
	{
		if (identity->user[0] == '\0' || strpbrk(identity->user, "*.") != NULL)
			return "{user} stands for the subject of a token, without dots and asterisks";
		front = (size_t) (at - pattern.data);
		at = arena_printf(&filter->arena, "%.*s%s%.*s", (int) front, pattern.data, identity->user,
						  (int) (pattern.len - front - (sizeof(user) - 1)), at + sizeof(user) - 1);
		pattern = (Slice){at, strlen(at)};
	}
	else
		pattern = arena_slice(&filter->arena, pattern);
	(stream ? filter->streams : filter->types)[(*n)++] = pattern;
	return NULL;
}

bool
live_allowed(const EventFilter *filter, const Identity *identity)
{
	if (filter->ntypes == 0)
		return identity_allows(identity, "subscribe", (Slice){NULL, 0});
	for (int i = 0; i < filter->ntypes; i++)
		if (!identity_allows(identity, "subscribe", filter->types[i]))
			return false;
	return true;
}

void
live_filter_free(LiveFilter *filter)
{
	arena_free(&filter->arena);
}

void
live_begin(LiveStream *stream)
{
	stream->previous = NULL;
	stream->next = live.first;
	if (stream->next)
		stream->next->previous = stream;
	live.first = stream;
}

void
live_end(LiveStream *stream)
{
	if (stream->previous)
		stream->previous->next = stream->next;
	else
		live.first = stream->next;
	if (stream->next)
		stream->next->previous = stream->previous;
}

static void
each_second(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) timer, (void) events;
	for (LiveStream *stream = live.first, *next; stream; stream = next)
	{
		next = stream->next;
		stream->second(stream, ev_now(loop));
	}
}

/* The cached identities of the sockets are asked, so whatever was revoked is found. */
static void
revoked(const char *tenant, const char *kind, const char *id, int64_t not_before)
{
	(void) tenant, (void) kind, (void) id, (void) not_before;
	for (LiveStream *stream = live.first, *next; stream; stream = next)
	{
		const Identity *identity = stream->identity(stream);

		next = stream->next;
		if (identity && identity_is_revoked(identity))
			stream->end(stream, 4401, "the token was revoked");
	}
}

void
live_start(void)
{
	identity_on_revoked(revoked);
	ev_timer_init(&live.timer, each_second, 1, 1);
	ev_timer_start(usherd_loop, &live.timer);
}

void
live_drain(void)
{
	for (LiveStream *stream = live.first, *next; stream; stream = next)
	{
		char reason[64];

		next = stream->next;
		snprintf(reason, sizeof(reason), "%d ms", DRAIN_DELAY_MS);
		stream->end(stream, 4503, reason);
	}
}

/* The same host, one of cors_origins, or no page at all. */
bool
live_origin_allowed(const Request *request)
{
	Slice origin = request_header(request, "origin"), host = request_header(request, "host");
	const char *scheme;

	if (origin.data == NULL)
		return true;
	scheme = memmem(origin.data, origin.len, "://", 3);
	if (scheme && origin.len - (size_t) (scheme + 3 - origin.data) == host.len &&
		memcmp(scheme + 3, host.data, host.len) == 0)
		return true;
	return reply_origin_allowed(origin);
}
