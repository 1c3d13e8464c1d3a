/*
 * bgworkers/relay_send.c
 *	  The sink's life, and the way of batches into it.
 */
#include "relay.h"

#include "access/xlog.h"
#include "common/pg_prng.h"
#include "utils/memutils.h"

#define BATCHES_MAX     64
#define BATCHES_A_ROUND 8
#define BYTES_MAX       (16 * 1024 * 1024) /* of messages in memory */

int64
relay_now_ms(void)
{
	return GetCurrentTimestamp() / 1000;
}

/* ---- batches ---- */

static size_t
bytes_held(const Relay *r)
{
	size_t bytes = 0;
	dlist_iter iter;

	dlist_foreach(iter, &((Relay *) r)->batches)
		bytes += dlist_container(RelayBatch, node, iter.cur)->bytes;
	return bytes;
}

void
relay_count_in_flight(Relay *r)
{
	dlist_iter iter;

	r->in_flight = 0;
	dlist_foreach(iter, &r->batches)
	{
		RelayBatch *batch = dlist_container(RelayBatch, node, iter.cur);

		r->in_flight += Max(0, batch->b.pending - (batch->b.count - batch->sent));
	}
}

void
relay_batch_append(Relay *r, RelayBatch *batch)
{
	dlist_push_tail(&r->batches, &batch->node);
	r->nbatches++;
}

void
relay_batch_remove(Relay *r, RelayBatch *batch)
{
	dlist_delete(&batch->node);
	r->nbatches--;
	relay_batch_free(batch);
}

static void
forget_batches(Relay *r)
{
	while (!dlist_is_empty(&r->batches))
		relay_batch_remove(r, dlist_head_element(RelayBatch, node, &r->batches));
	r->in_flight = 0;
	r->read_position = r->acked_position;
}

/* ---- the sink's life ---- */

void
relay_close_sink(Relay *r)
{
	if (r->sink)
		r->sink->ops->close(r->sink);
	r->sink = NULL;
	r->ready = false;
	r->worker.socket = PGINVALID_SOCKET;
	r->worker.want_write = false;
	forget_batches(r);
}

/* Stop until somebody changes the configuration. */
void
relay_block(Relay *r, const char *code, const char *text)
{
	ereport(WARNING,
			(errcode(ERRCODE_USHER_SINK_BLOCKED),
			 errmsg("sink \"%s\" is blocked at position %lld: %s", r->config->name,
					(long long) r->acked_position, code),
			 errdetail("%s", text), errhint("Mend the cause, then call usher.resume_sink.")));
	relay_tell_error(r, code, text); /* they may lie in a batch */
	if (r->replay_id != 0)
		relay_end_replay(r, text);
	else
		relay_record_cursor(r);
	relay_tell_error(r, code, text); /* they may be the message's, which goes now */
	relay_close_sink(r);
	relay_tell_state(r, RELAY_BLOCKED);
	pg_atomic_write_u32(&r->entry->blocked_generation, r->config->generation);
	r->worker.done = true;
}

static void
lost(Relay *r, const char *code, const char *text)
{
	usher_breaker_failure(&r->breaker, relay_now_ms(), pg_prng_double(&pg_global_prng_state));
	ereport(LOG, (errmsg("sink \"%s\" is away at position %lld: %s", r->config->name,
						 (long long) r->acked_position, code),
				  errdetail("%s; next try in %lld ms, breaker %s", text,
							(long long) Max(0, r->breaker.retry_at - relay_now_ms()),
							usher_breaker_name(r->breaker.state))));
	relay_tell_error(r, code, text);
	relay_record_cursor(r);
	relay_close_sink(r);
	relay_tell_state(r, RELAY_WAITING);
}

/* What a function of the sink returned; true: go on. */
static bool
went_well(Relay *r, UsherSinkResult result)
{
	char code[sizeof(r->sink->error_code)];
	char text[sizeof(r->sink->error_text)];

	if (result == SINK_OK || result == SINK_FULL)
		return true;
	strlcpy(code, r->sink->error_code, sizeof(code));
	strlcpy(text, r->sink->error_text, sizeof(text));
	if (result == SINK_BLOCKED)
		relay_block(r, code, text);
	else
		lost(r, code, text);
	return false;
}

const UsherSinkOps *
usher_sink_ops(const char *kind)
{
	static const UsherSinkOps *const all[] = {
		&usher_sink_kafka,
		&usher_sink_redis,
		&usher_sink_nats,
		&usher_sink_memory,
	};

	for (int i = 0; i < (int) lengthof(all); i++)
		if (strcmp(all[i]->kind, kind) == 0)
			return all[i];
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
					errmsg("this build has no sinks of kind \"%s\"", kind)));
}

/*
 * The peer may know better how far we are; only forward.  A replay reads again
 * what it has, so that it is counted, and does not send it.
 */
static void
adopt_position(Relay *r, int64 position)
{
	if (r->replay_id != 0)
		r->delivered_position = Max(r->delivered_position, position);
	if (position <= r->acked_position || r->replay_id != 0)
		return;
	r->acked_position = position;
	r->read_position = Max(r->read_position, position);
}

bool
relay_more_to_read(const Relay *r)
{
	int64 stable = usher_stable_position_of(r->db);

	if (r->config->replay_of_dead_letters)
		return !r->exhausted;
	if (r->replay_id != 0)
		stable = Min(stable, r->config->replay_to);
	return r->read_position < stable;
}

/* Open the sink and wait for the peer; true when messages can be sent. */
bool
relay_make_ready(Relay *r)
{
	UsherSinkResult result = SINK_OK;
	int64 position = r->acked_position;

	if (r->sink == NULL)
	{
		if (!usher_breaker_allow(&r->breaker, relay_now_ms()))
			return false;
		r->config->sink.position = r->acked_position;
		r->ops = usher_sink_ops(r->config->kind);
		r->duplicates_seen = r->retried_seen = 0;
		r->acknowledged = false;
		relay_tell_state(r, RELAY_STARTING);
		r->sink = r->ops->open(&r->config->sink, &position, &result);
		r->ops = r->sink->ops; /* a kind may have several, by its options */
		if (!went_well(r, result))
			return false;
		adopt_position(r, position);
	}
	if (r->ready)
		return true;
	result = r->ops->poll(r->sink);
	if (!went_well(r, result))
		return false;
	position = r->acked_position;
	result = r->ops->ready(r->sink, &position);
	if (!went_well(r, result) || result == SINK_FULL)
		return false;
	adopt_position(r, position);
	if (r->replay_id == 0 && r->sink->before_seek > r->config->repeat_upto)
	{
		/* it changes the configuration: the next round begins with that */
		relay_record_repeat(r, r->config->sink.epoch, r->sink->before_seek);
		r->config->repeat_upto = r->sink->before_seek;
		return false;
	}
	r->ready = true;
	if (!relay_more_to_read(r))
		usher_breaker_success(&r->breaker);
	relay_tell_state(r, RELAY_RUNNING);
	return true;
}

/* ---- sending ---- */

bool
relay_poll_sink(Relay *r)
{
	return went_well(r, r->ops->poll(r->sink));
}

/* The oldest batch with messages that have not been handed over; NULL: none. */
RelayBatch *
relay_batch_to_send(Relay *r)
{
	dlist_iter iter;

	dlist_foreach(iter, &r->batches)
	{
		RelayBatch *batch = dlist_container(RelayBatch, node, iter.cur);

		if (batch->sent < batch->b.count)
			return batch;
	}
	return NULL;
}

/*
 * How long to wait for more events before the next batch begins: a transaction
 * costs a broker far more than an event.  A full batch, and a replay, waits for
 * nothing.
 */
int64
relay_gather_ms(const Relay *r)
{
	if (r->sink == NULL || r->ops->commit == NULL || r->sink->commit_interval_ms == 0 ||
		r->replay_id != 0 || !relay_more_to_read(r) ||
		usher_stable_position_of(r->db) - r->read_position >= r->config->batch_events)
		return 0;
	return Max(0, r->commit_begun_ms + r->sink->commit_interval_ms - relay_now_ms());
}

bool
relay_may_read(const Relay *r)
{
	if (relay_gather_ms(r) > 0)
		return false;
	if (r->nbatches > 0 && dlist_tail_element(RelayBatch, node, &((Relay *) r)->batches)->stops)
		return false;
	return r->nbatches < BATCHES_MAX && r->in_flight < r->config->in_flight &&
		   relay_more_to_read(r) && bytes_held(r) < BYTES_MAX;
}

static RelayBatch *
read_batch(Relay *r)
{
	RelayBatch *batch;

	if (!relay_may_read(r))
		return NULL;
	batch = relay_read(r);
	if (r->config->replay_of_dead_letters)
		r->exhausted = batch->complete;
	if (batch->b.count > 0)
		XLogFlush(batch->lsn);
	relay_batch_append(r, batch);
	return batch;
}

/* False: the sink is gone, or can take no more now. */
static bool
send_batch(Relay *r, RelayBatch *batch)
{
	while (batch->sent < batch->b.count)
	{
		UsherMessage *m = &batch->b.messages[batch->sent];
		UsherSinkResult result = SINK_OK;

		if (m->state == MESSAGE_PENDING && m->position <= r->delivered_position)
			usher_message_done(m);
		if (m->state == MESSAGE_PENDING)
			result = r->ops->send(r->sink, m);
		if (!went_well(r, result) || result == SINK_FULL)
			return false;
		batch->sent++;
	}
	return true;
}

static const UsherMessage *
first_rejected(const RelayBatch *batch)
{
	for (int i = 0; i < batch->b.count; i++)
		if (batch->b.messages[i].state == MESSAGE_REJECTED)
			return &batch->b.messages[i];
	return NULL;
}

/* Messages were rejected: they are dead letters, or the sink stops, and this returns false. */
bool
relay_settle_rejected(Relay *r, RelayBatch *batch)
{
	const UsherMessage *m = first_rejected(batch);
	char *text;

	if (m == NULL || batch->dead_letter_topics)
		return true;
	if (!r->config->block_rejected || r->replay_id != 0)
	{
		relay_record_rejected(r, batch);
		return true;
	}
	text = psprintf("position %lld was rejected: %s", (long long) m->position,
					m->error_text ? m->error_text : "");
	if (batch->b.pending == 0) /* what lies before it need not come again */
		r->acked_position = Max(r->acked_position, m->position - 1);
	relay_block(r, m->error_code ? m->error_code : "rejected", text);
	return false;
}

/* Messages and the position together, while the next batch is read already. */
static bool
commit_batch(Relay *r, RelayBatch *batch)
{
	UsherSinkResult result;

	if (batch->b.count == 0 || batch->b.pending == 0)
		return true;
	r->commit_begun_ms = relay_now_ms();
	if (!dlist_has_next(&r->batches, &batch->node))
		(void) read_batch(r);
	while ((result = r->ops->commit(r->sink, &batch->b)) == SINK_FULL)
		if (!relay_settle_rejected(r, batch))
			return false;
	return went_well(r, result);
}

/* Hand over what there is and what the bounds allow, a few batches at a time; false: the sink is gone. */
bool
relay_send_some(Relay *r)
{
	r->full = false;
	for (int i = 0; i < BATCHES_A_ROUND; i++)
	{
		RelayBatch *batch = relay_batch_to_send(r);

		if (r->config->generation != pg_atomic_read_u32(&r->db->sinks_generation))
			return true; /* what is configured may be another: look at it first */
		if (batch == NULL && (batch = read_batch(r)) == NULL)
			return true;
		if (batch->b.count == 0)
			continue; /* it moves the cursor only */
		if (!send_batch(r, batch))
		{
			r->full = true;
			return r->sink != NULL;
		}
		if (r->ops->commit && !commit_batch(r, batch))
			return false;
		if (!relay_poll_sink(r))
			return false;
		relay_count_in_flight(r);
	}
	return true;
}
