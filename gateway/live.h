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

/* Every stream that is open, whatever its transport: called each second, and when something ends it. */
typedef struct LiveStream LiveStream;
struct LiveStream
{
	LiveStream *previous, *next;
	const Identity *(*identity)(LiveStream *stream);
	void (*second)(LiveStream *stream, double now);
	void (*end)(LiveStream *stream, int code,
				const char *reason); /* a close code of docs/realtime.md */
};
extern void live_begin(LiveStream *stream);
extern void live_end(LiveStream *stream);
extern void live_start(void);
extern void live_drain(void); /* ends all: usherd stops */

/* Cross-site requests carry cookies but not our tokens; still, whose page it is must be allowed. */
extern bool live_origin_allowed(const Request *request);

#endif /* USHERD_LIVE_H */
