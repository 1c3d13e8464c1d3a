/*
 * gateway/live.h
 *	  What WebSocket and server-sent events share: what a client asks for, and when its stream ends.
 */
#ifndef USHERD_LIVE_H
#define USHERD_LIVE_H

#include "fanout.h"
#include "listener.h"
#include "request.h"

#define LIVE_SUBSCRIPTIONS_MAX 32 /* of a client */

/* Patterns of a subscription while it is being asked for. */
typedef struct LiveFilter
{
	Slice types[FILTER_PATTERNS_MAX], streams[FILTER_PATTERNS_MAX];
	EventFilter filter;
	Arena arena; /* their texts */
} LiveFilter;

/*
 * One more pattern; "{user}" in it stands for the subject of the token.  NULL, or what is wrong with it.
 * The texts are copied.
 */
extern const char *
live_add_pattern(LiveFilter *live, bool stream, Slice pattern, const Identity *identity);
/* May the identity have all this? */
extern bool live_allowed(const EventFilter *filter, const Identity *identity);
extern void live_filter_free(LiveFilter *live);

/* A user with all his streams, whatever their transport. */
typedef struct LiveUser LiveUser;

/* Every stream that is open: called each second, and when something ends it. */
typedef struct LiveStream LiveStream;
struct LiveStream
{
	LiveStream *previous, *next;
	Client *client;
	bool known; /* live_admit() has taken an identity for it */
	bool told_expiring;
	int npending; /* subscriptions that will be the client's when something has been answered */
	LiveUser *user; /* NULL: nobody is known, or without credentials */
	LiveStream *user_previous, *user_next;
	void (*second)(LiveStream *stream, double now);
	void (*expiring)(LiveStream *stream, int64_t expires_at); /* the token ends soon; or NULL */
	void (*end)(LiveStream *stream, int code,
				const char *reason); /* a close code of docs/realtime.md */
};
extern void live_begin(LiveStream *stream, Client *client);
extern void live_end(LiveStream *stream);
extern void live_start(void);
extern void live_drain(void); /* ends all: usherd stops */

/*
 * A first identity for the stream, or the newer token of the same user: then the client has it from now on.
 * 0, or the close code why not (then the caller still has it): of somebody else, too many connections.
 */
extern int live_admit(LiveStream *stream, Identity *identity, const char **reason);
/* Behind it: may its tenant have one more connection? false: it has as many as it may. */
extern bool live_connection_allowed(Connection *connection);
/* May the user have one more subscription, send one more message? */
extern bool live_subscription_allowed(const LiveStream *stream);
extern bool live_message_allowed(LiveStream *stream);

typedef struct LiveCounts
{
	int users;
	int64_t limited; /* who was refused by a limit of users, or of tenants */
} LiveCounts;
extern LiveCounts live_counts(void);

/* Cross-site requests carry cookies but not our tokens; still, whose page it is must be allowed. */
extern bool live_origin_allowed(const Request *request);

#endif /* USHERD_LIVE_H */
