/*
 * bgworkers/relay_tell.c
 *	  What a relay worker tells about itself: in shared memory for
 *	  usher.sink_status, and in pg_stat_activity.
 */
#include "relay.h"

#include "pgstat.h"

void
relay_tell_error(Relay *r, const char *code, const char *text)
{
	UsherRelayStatus *s = &r->entry->status;

	SpinLockAcquire(&r->entry->mutex);
	s->error_at = GetCurrentTimestamp();
	snprintf(s->error, sizeof(s->error), "%s: %s", code, text);
	SpinLockRelease(&r->entry->mutex);
}

void
relay_tell_state(Relay *r, UsherRelayState state)
{
	UsherRelayStatus *s = &r->entry->status;

	SpinLockAcquire(&r->entry->mutex);
	s->state = state;
	s->breaker = r->breaker.state;
	s->next_try_at = state == RELAY_WAITING ? (TimestampTz) r->breaker.retry_at * 1000 : 0;
	SpinLockRelease(&r->entry->mutex);
}

void
relay_tell_progress(Relay *r)
{
	UsherRelayStatus *s = &r->entry->status;
	TimestampTz now = GetCurrentTimestamp();
	int64 duplicates = 0, retried = 0;
	double elapsed = (double) (now - r->rate_since) / USECS_PER_SEC;

	if (r->sink)
	{
		duplicates = r->sink->duplicates - r->duplicates_seen;
		retried = r->sink->retried - r->retried_seen;
		r->duplicates_seen += duplicates;
		r->retried_seen += retried;
	}
	SpinLockAcquire(&r->entry->mutex);
	s->position = r->acked_position;
	s->in_flight = r->in_flight;
	s->duplicates += duplicates;
	s->retried += retried;
	if (elapsed >= 1)
	{
		s->rate = r->rate_count / elapsed;
		s->rated_at = now;
	}
	SpinLockRelease(&r->entry->mutex);
	if (elapsed >= 1)
	{
		r->rate_count = 0;
		r->rate_since = now;
	}
}

void
relay_tell_counts(Relay *r, const RelayBatch *batch)
{
	UsherRelayStatus *s = &r->entry->status;
	int delivered = batch->b.count - batch->b.rejected;

	r->rate_count += delivered;
	SpinLockAcquire(&r->entry->mutex);
	s->delivered += delivered;
	s->dead += batch->b.rejected;
	s->unmatched += batch->unmatched;
	SpinLockRelease(&r->entry->mutex);
}

void
relay_tell_activity(Relay *r)
{
	char text[200];

	snprintf(text, sizeof(text), "sink %s: %s", r->config->name,
			 r->sink == NULL    ? "the peer is away"
			 : !r->ready        ? "connecting"
			 : r->in_flight > 0 ? "waiting for acknowledgements"
								: "waiting for events");
	pgstat_report_activity(STATE_IDLE, text);
}
