/*
 * gateway/tail.h
 *	  The one reader of the log's end: what has just been committed, of all tenants, once for everybody here.
 *
 * It reads while somebody listens, on a connection of its own (LANE_LOG), and
 * hands over heads: where an event is, not what is in it.  Long polls listen,
 * by parked.c; whatever sends events to many clients can listen beside.
 */
#ifndef USHERD_TAIL_H
#define USHERD_TAIL_H

#include <stdbool.h>
#include <stdint.h>

/* Absent texts are "". */
typedef struct TailEvent
{
	int64_t position;
	int64_t version; /* 0: it was published, to a topic */
	const char *tenant, *type, *stream, *topic, *key;
	/* when somebody wants TAIL_CONTENT, else "": */
	const char *id, *data, *metadata, *recorded_at;
} TailEvent;

/* Each with all of those before it. */
typedef enum TailWish
{
	TAIL_POSITION, /* only moved() is called, and it has always jumped */
	TAIL_CHANGES, /* events by which what usherd knows may change: revocations, and what is on sale */
	TAIL_HEADS, /* all events */
	TAIL_CONTENT, /* events with their data */
} TailWish;

typedef struct TailListener TailListener;
struct TailListener
{
	/* Events behind those of the last call, in order of position; they live as long as the call. */
	void (*events)(TailListener *listener, const TailEvent *events, int n);
	/*
	 * Everything up to position was handed over.  jumped: not so, nothing is known of what lies behind
	 * the position of the last call; whoever wants it reads it.  The first call has always jumped.
	 */
	void (*moved)(TailListener *listener, int64_t position, bool jumped);
	TailWish wants;
	double patience_seconds; /* may hear of an event so much later: a busy log is read less often */
	TailListener *next; /* tail.c's */
};

/* The calls come from the loop, never from within these two. A listener may leave in its own call. */
extern void tail_listen(TailListener *listener);
extern void tail_leave(TailListener *listener);

/* Called with the number of the last signal (signals.h) when it has changed. */
extern void tail_on_signals(void (*callback)(int64_t last));

/* Up to here all is handed over; -1: not known yet (jumped comes). */
extern int64_t tail_position(void);
/* Can it be read? Not when calls fail, or are overdue, for more than a second. */
extern bool tail_follows(void);
/* Everything at or below was readable, when it was last asked; it only grows. */
extern int64_t tail_stable(void);

#endif /* USHERD_TAIL_H */
