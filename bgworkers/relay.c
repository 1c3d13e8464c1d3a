/*
 * bgworkers/relay.c
 *	  A relay worker: one lane of a sink, or one replay.
 *
 *	  read a batch (short transaction) -> flush the WAL to it -> hand its
 *	  messages to the sink -> poll -> retire batches that are acknowledged
 *
 * No transaction is open while it talks to the peer.  Several batches are on
 * their way at a time, bounded in messages and bytes.  The cursor follows the
 * oldest batch: what is not acknowledged is sent again after a failure.
 */
#include "relay.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/extension.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define BATCHES_MAX        64
#define BATCHES_A_ROUND    8
#define BYTES_MAX          (16 * 1024 * 1024) /* of messages in memory */
#define CURSOR_INTERVAL_MS 100
#define POLL_MS            2 /* while something is in flight and the sink has no socket */
#define CONNECT_POLL_MS    20
#define STOP_MS            2000
#define BREAKER_FAILURES   5
#define BACKOFF_MS         100
#define BACKOFF_MAX_MS     30000
#define LOCK_TIMEOUT       "5s" /* SIGTERM does not end a wait for a lock */

PGDLLEXPORT void usher_relay_main(Datum arg);

static UsherRelay *exit_entry;

static long relay_round(void *state);

void
relay_begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

void
relay_commit(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
}

static int64
now_ms(void)
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

static void
count_in_flight(Relay *r)
{
	dlist_iter iter;

	r->in_flight = 0;
	dlist_foreach(iter, &r->batches)
	{
		RelayBatch *batch = dlist_container(RelayBatch, node, iter.cur);

		r->in_flight += Max(0, batch->b.pending - (batch->b.count - batch->sent));
	}
}

static void
batch_append(Relay *r, RelayBatch *batch)
{
	dlist_push_tail(&r->batches, &batch->node);
	r->nbatches++;
}

static void
batch_remove(Relay *r, RelayBatch *batch)
{
	dlist_delete(&batch->node);
	r->nbatches--;
	relay_batch_free(batch);
}

static void
forget_batches(Relay *r)
{
	while (!dlist_is_empty(&r->batches))
		batch_remove(r, dlist_head_element(RelayBatch, node, &r->batches));
	r->in_flight = 0;
	r->read_position = r->acked_position;
}

/* ---- the sink's life ---- */

static void
close_sink(Relay *r)
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
static void
block(Relay *r, const char *code, const char *text)
{
	ereport(WARNING,
			(errcode(ERRCODE_USHER_SINK_BLOCKED),
			 errmsg("sink \"%s\" is blocked at position %lld: %s", r->config->name,
					(long long) r->acked_position, code),
			 errdetail("%s", text), errhint("Mend the cause, then call usher.resume_sink.")));
	if (r->replay_id != 0)
		relay_end_replay(r, text);
	else
		relay_record_cursor(r);
	close_sink(r);
	relay_tell_error(r, code, text);
	relay_tell_state(r, RELAY_BLOCKED);
	pg_atomic_write_u32(&r->entry->blocked_generation, r->config->generation);
	r->worker.done = true;
}

static void
lost(Relay *r, const char *code, const char *text)
{
	usher_breaker_failure(&r->breaker, now_ms(), pg_prng_double(&pg_global_prng_state));
	ereport(LOG, (errmsg("sink \"%s\" is away at position %lld: %s", r->config->name,
						 (long long) r->acked_position, code),
				  errdetail("%s; next try in %lld ms, breaker %s", text,
							(long long) Max(0, r->breaker.retry_at - now_ms()),
							usher_breaker_name(r->breaker.state))));
	relay_tell_error(r, code, text);
	relay_record_cursor(r);
	close_sink(r);
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
		block(r, code, text);
	else
		lost(r, code, text);
	return false;
}

const UsherSinkOps *
usher_sink_ops(const char *kind)
{
	static const UsherSinkOps *const all[] = {
		&usher_sink_kafka,
		&usher_sink_memory,
	};

	for (int i = 0; i < (int) lengthof(all); i++)
		if (strcmp(all[i]->kind, kind) == 0)
			return all[i];
	ereport(ERROR, (errcode(ERRCODE_USHER_INVALID_ARGUMENT),
					errmsg("this build has no sinks of kind \"%s\"", kind)));
}

/* The peer may know better how far we are; only forward. */
static void
adopt_position(Relay *r, int64 position)
{
	if (position <= r->acked_position || r->replay_id != 0)
		return;
	r->acked_position = position;
	r->read_position = Max(r->read_position, position);
}

static bool
more_to_read(const Relay *r)
{
	int64 stable = usher_stable_position_of(r->db);

	if (r->config->replay_of_dead_letters)
		return !r->exhausted;
	if (r->replay_id != 0)
		stable = Min(stable, r->config->replay_to);
	return r->read_position < stable;
}

/* Open the sink and wait for the peer; true when messages can be sent. */
static bool
make_ready(Relay *r)
{
	UsherSinkResult result = SINK_OK;
	int64 position = r->acked_position;

	if (r->sink == NULL)
	{
		if (!usher_breaker_allow(&r->breaker, now_ms()))
			return false;
		r->config->sink.position = r->acked_position;
		r->ops = usher_sink_ops(r->config->kind);
		r->duplicates_seen = r->retried_seen = 0;
		r->acknowledged = false;
		relay_tell_state(r, RELAY_STARTING);
		r->sink = r->ops->open(&r->config->sink, &position, &result);
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
	r->ready = true;
	if (!more_to_read(r))
		usher_breaker_success(&r->breaker);
	relay_tell_state(r, RELAY_RUNNING);
	return true;
}

/* ---- sending ---- */

static bool
poll_sink(Relay *r)
{
	return went_well(r, r->ops->poll(r->sink));
}

/* The oldest batch with messages that have not been handed over; NULL: none. */
static RelayBatch *
batch_to_send(Relay *r)
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

static bool
may_read(const Relay *r)
{
	return r->nbatches < BATCHES_MAX && r->in_flight < r->config->in_flight && more_to_read(r) &&
		   bytes_held(r) < BYTES_MAX;
}

static RelayBatch *
read_batch(Relay *r)
{
	RelayBatch *batch;

	if (!may_read(r))
		return NULL;
	batch = relay_read(r);
	if (r->config->replay_of_dead_letters)
		r->exhausted = batch->complete;
	if (batch->b.count > 0)
		XLogFlush(batch->lsn);
	batch_append(r, batch);
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

		if (m->state == MESSAGE_PENDING)
			result = r->ops->send(r->sink, m);
		if (!went_well(r, result) || result == SINK_FULL)
			return false;
		batch->sent++;
	}
	return true;
}

/* Messages and the position together, while the next batch is read already. */
static bool
commit_batch(Relay *r, RelayBatch *batch)
{
	if (batch->b.count == 0 || batch->b.pending == 0)
		return true;
	if (!dlist_has_next(&r->batches, &batch->node))
		(void) read_batch(r);
	return went_well(r, r->ops->commit(r->sink, &batch->b));
}

/* Hand over what there is and what the bounds allow, a few batches at a time; false: the sink is gone. */
static bool
send_some(Relay *r)
{
	r->full = false;
	for (int i = 0; i < BATCHES_A_ROUND; i++)
	{
		RelayBatch *batch = batch_to_send(r);

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
		if (!poll_sink(r))
			return false;
		count_in_flight(r);
	}
	return true;
}

/* ---- retiring ---- */

static const UsherMessage *
first_rejected(const RelayBatch *batch)
{
	for (int i = 0; i < batch->b.count; i++)
		if (batch->b.messages[i].state == MESSAGE_REJECTED)
			return &batch->b.messages[i];
	return NULL;
}

/* False: the sink is blocked. */
static bool
retire_rejected(Relay *r, RelayBatch *batch)
{
	const UsherMessage *m = first_rejected(batch);

	if (m == NULL || batch->dead_letter_topics)
		return true;
	if (r->config->block_rejected && r->replay_id == 0)
	{
		char *text = psprintf("position %lld was rejected: %s", (long long) m->position,
							  m->error_text ? m->error_text : "");

		block(r, m->error_code ? m->error_code : "rejected", text);
		return false;
	}
	relay_record_rejected(r, batch);
	if (r->config->dead_letter_topic)
		batch_append(r, relay_dead_letter_batch(r, batch));
	return true;
}

/* Batches that are acknowledged, oldest first; false: the sink is blocked. */
static bool
retire(Relay *r)
{
	while (!dlist_is_empty(&r->batches))
	{
		RelayBatch *batch = dlist_head_element(RelayBatch, node, &r->batches);

		if (batch->sent < batch->b.count || batch->b.pending > 0)
			break;
		if (!retire_rejected(r, batch))
			return false;
		if (!batch->dead_letter_topics)
		{
			if (r->replay_id != 0 && (batch->b.count > 0 || batch->unmatched > 0))
				relay_record_replayed(r, batch);
			r->acked_position = Max(r->acked_position, batch->b.upto);
			relay_tell_counts(r, batch);
		}
		if (batch->b.count > batch->b.rejected && !r->acknowledged)
		{
			r->acknowledged = true;
			usher_breaker_success(&r->breaker);
			relay_tell_state(r, RELAY_RUNNING);
		}
		batch_remove(r, batch);
	}
	count_in_flight(r);
	return true;
}

/* ---- the loop ---- */

/* Poll until everything is acknowledged, for as long as is allowed. */
static void
drain(Relay *r, int ms)
{
	int64 deadline = now_ms() + ms;

	while (r->sink && r->ready && r->in_flight > 0 && now_ms() < deadline)
	{
		if (!poll_sink(r) || !retire(r))
			return;
		if (r->in_flight == 0)
			break;
		(void) WaitLatchOrSocket(MyLatch,
								 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH |
									 (r->sink->fd >= 0 ? WL_SOCKET_READABLE : 0),
								 r->sink->fd, POLL_MS * 5, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	relay_record_cursor(r);
}

static void
relay_stop(void *state)
{
	Relay *r = state;

	if (r->config == NULL)
		return;
	drain(r, STOP_MS);
	relay_tell_progress(r);
	close_sink(r);
	relay_tell_state(r, RELAY_STARTING);
}

static void
adopt_config(Relay *r, RelayConfig *config)
{
	const UsherSinkContext *sink = &config->sink;

	if (r->config)
	{
		drain(r, STOP_MS);
		close_sink(r);
	}
	relay_config_free(r->config);
	r->config = config;
	if (!config->exists || config->paused)
		return;
	r->acked_position = r->read_position = r->cursor_written = config->sink.position;
	r->exhausted = false;
	usher_breaker_init(&r->breaker,
					   (int) usher_option_int(sink, "", "breaker_failures", BREAKER_FAILURES),
					   (double) usher_option_int(sink, "", "backoff_ms", BACKOFF_MS),
					   (double) usher_option_int(sink, "", "backoff_max_ms", BACKOFF_MAX_MS));
}

/* False: nothing is left to do for this worker. */
static bool
look_at_config(Relay *r)
{
	RelayConfig *config;

	if (r->config && r->config->generation == pg_atomic_read_u32(&r->db->sinks_generation))
		return true;
	config = relay_config_load(r);
	if (r->config && config->exists && strcmp(config->signature, r->config->signature) == 0)
	{
		r->config->generation = config->generation;
		relay_config_free(config);
		return true;
	}
	adopt_config(r, config);
	if (config->exists && !config->paused)
		return true;
	relay_tell_state(r, RELAY_PAUSED);
	r->worker.done = true;
	return false;
}

static long
how_long_to_sleep(Relay *r)
{
	if (r->worker.done)
		return -1;
	if (r->sink == NULL)
		return Max(1, r->breaker.retry_at - now_ms());
	r->worker.socket = r->sink->fd >= 0 ? r->sink->fd : PGINVALID_SOCKET;
	r->worker.want_write = r->sink->want_write;
	if (!r->ready)
		return CONNECT_POLL_MS;
	if (!r->full && (batch_to_send(r) || may_read(r)))
		return 0;
	if (r->in_flight > 0 && r->sink->fd < 0)
		return POLL_MS;
	if (r->acked_position > r->cursor_written)
		return CURSOR_INTERVAL_MS;
	return r->in_flight > 0 ? CURSOR_INTERVAL_MS : -1;
}

static void
work(Relay *r)
{
	if (!look_at_config(r) || !make_ready(r))
		return;
	if (!poll_sink(r) || !retire(r) || !send_some(r) || !retire(r))
		return;
	if (r->replay_id != 0 && dlist_is_empty(&r->batches) && !more_to_read(r))
	{
		relay_end_replay(r, NULL);
		close_sink(r);
		r->worker.done = true;
		return;
	}
	if (TimestampDifferenceExceeds(r->cursor_written_at, GetCurrentTimestamp(), CURSOR_INTERVAL_MS))
		relay_record_cursor(r);
}

static bool
extension_exists(void)
{
	bool exists;

	relay_begin("looking for the log");
	exists = OidIsValid(get_extension_oid("pg_usher", true));
	relay_commit();
	return exists;
}

/* An error of ours: the peer is not to blame, but everybody shall see it. */
static void
note_error(Relay *r, MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	relay_tell_error(r, unpack_sql_state(error->sqlerrcode), error->message);
	if (error->sqlerrcode != ERRCODE_USHER_POSITION_GONE || r->config == NULL)
		PG_RE_THROW();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	block(r, "position_gone", error->message);
}

static long
relay_round(void *state)
{
	Relay *r = state;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		work(r);
	}
	PG_CATCH();
	{
		note_error(r, context);
	}
	PG_END_TRY();
	if (r->config && r->config->exists && !r->worker.done)
	{
		relay_tell_progress(r);
		relay_tell_activity(r);
	}
	return how_long_to_sleep(r);
}

static void
relay_exit(int code, Datum arg)
{
	usher_follow_end();
	if (exit_entry)
		pg_atomic_write_u32(&exit_entry->procno, USHER_NO_PROC);
}

/* The argument is the number of our entry; the housekeeping worker filled it in. */
void
usher_relay_main(Datum arg)
{
	UsherRelay *entry = &usher_shared->relays[DatumGetInt32(arg)];
	uint32 none = USHER_NO_PROC;
	static Relay relay;

	usher_worker_signals(true);
	if (!OidIsValid(entry->dboid))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(entry->dboid, InvalidOid, 0);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
	before_shmem_exit(relay_exit, (Datum) 0);
	if (!pg_atomic_compare_exchange_u32(&entry->procno, &none, usher_my_procno()))
		proc_exit(0); /* another one is at it */
	exit_entry = entry;
	if (entry->dboid != MyDatabaseId || !extension_exists())
		proc_exit(0);

	relay.entry = entry;
	relay.sink_id = entry->sink_id;
	relay.lane = entry->lane;
	relay.replay_id = entry->replay_id;
	relay.rate_since = GetCurrentTimestamp();
	dlist_init(&relay.batches);
	relay_begin("looking for the log");
	relay.db = usher_db();
	relay_commit();
	usher_relay_is_worker();
	usher_follow_begin(relay.db, 0, NULL, 0);
	relay.worker = (UsherWorker){
		.round = relay_round,
		.state = &relay,
		.stop = relay_stop,
		.socket = PGINVALID_SOCKET,
		.wait_name = "UsherRelay",
	};
	usher_worker_loop(&relay.worker);
	proc_exit(0);
}
