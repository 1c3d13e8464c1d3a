/*
 * gateway/loop.c
 *	  How long the rounds of the loop take.
 *
 *		sleep ─► check ─► sockets, results, timers … ─► prepare (batches, turns) ─► sleep
 *		         └ the round begins                      └ and ends, behind all others
 *
 * Whatever a round does, everybody else waits for it.  Of a long one the journal says how much of it was ours:
 * the rest of the time the machine had something else to do.
 */
#include <ev.h>
#include <time.h>

#include "journal.h"
#include "loop.h"
#include "metrics.h"
#include "usherd.h"

#define LONG_SECONDS   0.25
#define TOLD_SECONDS   1.0 /* one line so often */
#define SAMPLE_SECONDS 0.01

static struct
{
	ev_check begins;
	ev_prepare ends;
	double began; /* 0: no round has begun */
	double sampled_at, processor; /* what this thread had used then */
	double told_at;
} loop;

static double
seconds_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void
round_begins(struct ev_loop *ev, ev_check *watcher, int events)
{
	(void) ev, (void) watcher, (void) events;
	loop.began = seconds_of(CLOCK_MONOTONIC);
}

/* The processor's clock costs a system call, so it is not read in each round. */
static void
round_ends(struct ev_loop *ev, ev_prepare *watcher, int events)
{
	double now, took, processor;

	(void) ev, (void) watcher, (void) events;
	if (loop.began == 0)
		return;
	now = seconds_of(CLOCK_MONOTONIC);
	took = now - loop.began;
	metrics_round(took);
	if (now - loop.sampled_at < SAMPLE_SECONDS)
		return;
	processor = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	if (took >= LONG_SECONDS && now - loop.told_at >= TOLD_SECONDS)
	{
		loop.told_at = now;
		journal(JOURNAL_WARNING, "a round of the loop took %.0f ms, %.0f ms of the processor",
				took * 1000, (processor - loop.processor) * 1000);
	}
	loop.sampled_at = now;
	loop.processor = processor;
}

void
loop_start(void)
{
	ev_check_init(&loop.begins, round_begins);
	ev_set_priority(&loop.begins, EV_MAXPRI);
	ev_check_start(usherd_loop, &loop.begins);
	ev_prepare_init(&loop.ends, round_ends);
	ev_set_priority(&loop.ends, EV_MINPRI);
	ev_prepare_start(usherd_loop, &loop.ends);
}
