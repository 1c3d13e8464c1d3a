/*
 * gateway/identity_wait.c
 *	  Who asks, while it is not known yet what was revoked.
 *
 * When all connections to the database were lost, nobody is let in until the revocations are read again: a moment,
 * if the database is there, for which it is not worth to refuse everybody.  So their credentials wait here as
 * long as a call may wait for its connection.  When the database is known to be away nothing waits.
 */
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "control.h"
#include "db.h"
#include "identity_wait.h"
#include "usherd.h"

#define TICK_SECONDS 0.05
#define BYTES_MAX    (16 * 1024 * 1024) /* of all that wait */

typedef struct Waiting
{
	struct Waiting *next;
	double since;
	identity_done done;
	void *context;
	bool counts; /* for the address */
	Address address;
	size_t len;
	char authorization[];
} Waiting;

static struct
{
	Waiting *first, **last;
	size_t bytes;
	ev_timer timer;
	bool prepared;
} wait;

static Waiting *
take_first(void)
{
	Waiting *w = wait.first;

	wait.first = w->next;
	if (wait.first == NULL)
		wait.last = &wait.first;
	wait.bytes -= sizeof(Waiting) + w->len;
	return w;
}

/* The oldest stand in front. */
static void
tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void) events;
	while (wait.first &&
		   (db_away(LANE_READ) || ev_now(loop) - wait.first->since > config.queue_age_seconds))
	{
		Waiting *w = take_first();

		w->done(w->context, IDENTITY_UNAVAILABLE, NULL, NULL);
		free(w);
	}
	if (wait.first == NULL)
		ev_timer_stop(loop, timer);
}

IdentityOutcome
identity_ask(Slice authorization, const Address *address, Identity **identity, const char **reason,
			 identity_done done, void *context)
{
	IdentityOutcome outcome = identity_of(authorization, address, identity, reason, done, context);
	size_t bytes = sizeof(Waiting) + authorization.len;
	Waiting *w;

	if (outcome != IDENTITY_UNAVAILABLE || control_ready() || db_away(LANE_READ) ||
		wait.bytes + bytes > BYTES_MAX)
		return outcome;
	w = malloc(bytes);
	if (w == NULL)
		abort();
	*w = (Waiting){.since = ev_now(usherd_loop), .done = done, .context = context};
	w->counts = address != NULL;
	if (address != NULL)
		w->address = *address;
	w->len = authorization.len;
	memcpy(w->authorization, authorization.data, authorization.len);
	if (wait.first == NULL)
		wait.last = &wait.first;
	*wait.last = w;
	wait.last = &w->next;
	wait.bytes += bytes;
	if (!wait.prepared)
		ev_timer_init(&wait.timer, tick, 0, TICK_SECONDS);
	wait.prepared = true;
	ev_timer_again(usherd_loop, &wait.timer);
	return IDENTITY_PENDING;
}

void
identity_wait_ends(void)
{
	while (wait.first && control_ready())
	{
		Waiting *w = take_first();
		Identity *identity = NULL;
		const char *reason = NULL;
		IdentityOutcome outcome = identity_of((Slice){w->authorization, w->len},
											  w->counts ? &w->address : NULL, &identity, &reason,
											  w->done, w->context);

		if (outcome != IDENTITY_PENDING)
			w->done(w->context, outcome, identity, reason);
		free(w);
	}
}
