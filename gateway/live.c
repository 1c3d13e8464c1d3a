/*
 * gateway/live.c
 *	  What WebSocket and server-sent events share: patterns, and each stream with its user and the end of its token.
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/siphash.h"
#include "availability.h"
#include "live.h"
#include "usherd.h"

#define DRAIN_DELAY_MS   1000 /* clients come back spread over some time behind it */
#define EXPIRING_SECONDS 60
#define USERS            4096 /* buckets: a power of two */
#define BURST_SECONDS    4 /* of messages */

static struct
{
	LiveStream *first;
	ev_timer timer;
	LiveUser *users[USERS];
	SipKey key;
	LiveCounts counts;
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
		if (!identity_allows(identity, "subscribe", filter->types[i]) &&
			!availability_allowed(identity, filter->types[i]))
			return false;
	return true;
}

void
live_filter_free(LiveFilter *filter)
{
	arena_free(&filter->arena);
}

/*
 * Users: in a list each bucket, found by tenant and name
 */

struct LiveUser
{
	LiveUser *next;
	LiveStream *streams;
	int nstreams;
	double budget, budget_at; /* messages that he may send */
	bool is_key;
	char *tenant, *user; /* behind it */
};

static LiveUser **
user_place(const Identity *who)
{
	static Text name;
	LiveUser **at;

	name.len = 0;
	text_puts(&name, who->tenant);
	text_char(&name, who->is_key ? '\t' : '\n');
	text_puts(&name, who->user);
	at = &live.users[siphash(live.key, name.data, name.len) & (USERS - 1)];
	while (*at && (strcmp((*at)->user, who->user) != 0 || strcmp((*at)->tenant, who->tenant) != 0 ||
				   (*at)->is_key != who->is_key))
		at = &(*at)->next;
	return at;
}

static LiveUser *
user_make(LiveUser **place, const Identity *who)
{
	size_t tenant = strlen(who->tenant) + 1, user = strlen(who->user) + 1;
	LiveUser *made = calloc(1, sizeof(LiveUser) + tenant + user);

	if (made == NULL)
		abort();
	made->is_key = who->is_key;
	made->tenant = memcpy(made + 1, who->tenant, tenant);
	made->user = memcpy(made->tenant + tenant, who->user, user);
	made->budget = (double) config.live_messages_per_user * BURST_SECONDS;
	made->budget_at = ev_now(usherd_loop);
	*place = made;
	live.counts.users++;
	return made;
}

static void
user_leave(LiveStream *stream, const Identity *who)
{
	LiveUser *user = stream->user;

	if (user == NULL)
		return;
	if (stream->user_previous)
		stream->user_previous->user_next = stream->user_next;
	else
		user->streams = stream->user_next;
	if (stream->user_next)
		stream->user_next->user_previous = stream->user_previous;
	stream->user = NULL;
	if (--user->nstreams == 0)
	{
		*user_place(who) = user->next;
		live.counts.users--;
		free(user);
	}
}

/* false: he has as many as he may. */
static bool
user_enter(LiveStream *stream, const Identity *who)
{
	LiveUser **place = user_place(who), *user = *place;
	int most = config.live_connections_per_user_max;

	if (most > 0 && user && user->nstreams >= most)
	{
		live.counts.limited++;
		return false;
	}
	if (user == NULL)
		user = user_make(place, who);
	stream->user = user;
	stream->user_previous = NULL;
	stream->user_next = user->streams;
	if (stream->user_next)
		stream->user_next->user_previous = stream;
	user->streams = stream;
	user->nstreams++;
	return true;
}

int
live_admit(LiveStream *stream, Identity *identity, const char **reason)
{
	const Identity *old = stream->client->identity;

	if (stream->known &&
		(strcmp(old->tenant, identity->tenant) != 0 || strcmp(old->user, identity->user) != 0 ||
		 old->is_key != identity->is_key))
	{
		*reason = "the token is of somebody else";
		return 4403;
	}
	if (!identity->anonymous && stream->user == NULL && !user_enter(stream, identity))
	{
		*reason = "too many connections of this user";
		return 4429;
	}
	if (old)
		identity_release(stream->client->identity);
	stream->client->identity = identity;
	stream->known = true;
	stream->told_expiring = false;
	return 0;
}

bool
live_connection_allowed(Connection *connection)
{
	if (connection_lives(connection))
		return true;
	live.counts.limited++;
	return false;
}

bool
live_subscription_allowed(const LiveStream *stream)
{
	int64_t count = 0;

	if (stream->user == NULL || config.live_subscriptions_per_user_max == 0)
		return true;
	for (const LiveStream *other = stream->user->streams; other; other = other->user_next)
		count += other->client->nsubscriptions + other->npending;
	if (count < config.live_subscriptions_per_user_max)
		return true;
	live.counts.limited++;
	return false;
}

bool
live_message_allowed(LiveStream *stream)
{
	LiveUser *user = stream->user;
	double now = ev_now(usherd_loop), rate = config.live_messages_per_user;

	if (user == NULL || rate <= 0)
		return true;
	user->budget += (now - user->budget_at) * rate;
	user->budget_at = now;
	if (user->budget > rate * BURST_SECONDS)
		user->budget = rate * BURST_SECONDS;
	if (--user->budget >= 0)
		return true;
	live.counts.limited++;
	return false;
}

LiveCounts
live_counts(void)
{
	return live.counts;
}

/*
 * Streams
 */

void
live_begin(LiveStream *stream, Client *client)
{
	stream->client = client;
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
	user_leave(stream, stream->client->identity);
}

/* Does its token go on? It may be gone behind a no. */
static bool
goes_on(LiveStream *stream, double now)
{
	double end = (double) stream->client->identity->expires_at;

	if (!stream->known || end <= 0)
		return true;
	if (now > end)
	{
		stream->end(stream, 4401, "the token has expired");
		return false;
	}
	if (stream->expiring && !stream->told_expiring && now > end - EXPIRING_SECONDS)
	{
		stream->told_expiring = true;
		stream->expiring(stream, stream->client->identity->expires_at);
	}
	return true;
}

static void
each_second(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) timer, (void) events;
	for (LiveStream *stream = live.first, *next; stream; stream = next)
	{
		next = stream->next;
		if (goes_on(stream, ev_now(loop)))
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
		next = stream->next;
		if (stream->known && identity_is_revoked(stream->client->identity))
			stream->end(stream, 4401, "the token was revoked");
	}
}

void
live_start(void)
{
	char hex[33];

	usherd_random_hex(hex, 32);
	memcpy(&live.key, hex, sizeof(live.key));
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
