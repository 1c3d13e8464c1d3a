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
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

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
static UsherDb *exit_db;

static long relay_round(void *state);

/* What it shows between transactions is told by relay_tell_activity. */
void
relay_commit(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Which incarnation of the extension this worker works for. */
Oid
relay_log(void)
{
	return exit_entry->log_relid;
}

/* ---- retiring ---- */

/* False: the sink is blocked. */
static bool
retire_rejected(Relay *r, RelayBatch *batch)
{
	if (batch->b.rejected == 0 || batch->dead_letter_topics)
		return true;
	if (!relay_settle_rejected(r, batch))
		return false;
	if (r->config->dead_letter_topic)
		relay_batch_append(r, relay_dead_letter_batch(r, batch));
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
		relay_batch_remove(r, batch);
	}
	relay_count_in_flight(r);
	return true;
}

/* ---- the loop ---- */

/* Poll until everything is acknowledged, for as long as is allowed. */
static void
drain(Relay *r, int ms)
{
	int64 deadline = relay_now_ms() + ms;

	while (r->sink && r->ready && r->in_flight > 0 && relay_now_ms() < deadline)
	{
		if (!relay_poll_sink(r) || !retire(r))
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
	relay_close_sink(r);
	relay_tell_state(r, RELAY_STARTING);
}

static void
adopt_config(Relay *r, RelayConfig *config)
{
	const UsherSinkContext *sink = &config->sink;

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

/*
 * Whoever seeks does not know what was delivered until we heard of it: it comes
 * again, so it is marked as a replay, too.
 */
static RelayConfig *
raise_repeat(Relay *r, RelayConfig *config)
{
	while (config->exists && r->config->exists && r->replay_id == 0 &&
		   config->sink.epoch > r->config->sink.epoch && r->acked_position > config->repeat_upto)
	{
		relay_record_repeat(r, config->sink.epoch, r->acked_position);
		relay_config_free(config);
		config = relay_config_load(r);
	}
	return config;
}

/* The new configuration was read before the last acknowledgements came: go on behind them, unless somebody sought. */
static void
keep_place(const Relay *r, RelayConfig *config)
{
	if (r->replay_id == 0 && config->exists && r->config->exists &&
		config->sink.epoch == r->config->sink.epoch && config->sink.lanes == r->config->sink.lanes)
		config->sink.position = Max(config->sink.position, r->acked_position);
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
	if (r->config)
	{
		drain(r, STOP_MS);
		relay_close_sink(r);
		/* blocked by what came in; with the change another worker tries again */
		if (r->worker.done)
		{
			relay_config_free(config);
			return false;
		}
		config = raise_repeat(r, config);
		keep_place(r, config);
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
		return Max(1, r->breaker.retry_at - relay_now_ms());
	r->worker.socket = r->sink->fd >= 0 ? r->sink->fd : PGINVALID_SOCKET;
	r->worker.want_write = r->sink->want_write;
	if (!r->ready)
		return CONNECT_POLL_MS;
	if (!r->full && (relay_batch_to_send(r) || relay_may_read(r)))
		return 0;
	if (!r->full && relay_gather_ms(r) > 0)
		return relay_gather_ms(r);
	if (r->in_flight > 0 && r->sink->fd < 0)
		return POLL_MS;
	if (r->acked_position > r->cursor_written)
		return CURSOR_INTERVAL_MS;
	return r->in_flight > 0 ? CURSOR_INTERVAL_MS : -1;
}

static void
work(Relay *r)
{
	if (!look_at_config(r) || !relay_make_ready(r))
		return;
	if (!relay_poll_sink(r) || !retire(r) || !relay_send_some(r) || !retire(r))
		return;
	if (r->replay_id != 0 && dlist_is_empty(&r->batches) && !relay_more_to_read(r))
	{
		relay_end_replay(r, NULL);
		relay_close_sink(r);
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

	usher_worker_begin("looking for the log");
	exists = OidIsValid(get_extension_oid("pg_usher", true)) && get_rel_name(relay_log()) != NULL;
	relay_commit();
	return exists;
}

/* Our log is no longer there: DROP EXTENSION, whoever made another one since. */
static bool
log_is_gone(Relay *r)
{
	bool gone;

	usher_worker_begin("looking for the log");
	gone = get_rel_name(relay_log()) == NULL;
	relay_commit();
	return gone;
}

/*
 * An error of ours: the peer is not to blame, but everybody shall see it,
 * unless it comes of a log that was dropped under our feet.
 */
static void
note_error(Relay *r, MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	if (log_is_gone(r))
	{
		relay_close_sink(r);
		r->worker.done = true;
		return;
	}
	relay_tell_error(r, unpack_sql_state(error->sqlerrcode), error->message);
	if (error->sqlerrcode != ERRCODE_USHER_POSITION_GONE || r->config == NULL)
		ReThrowError(error);
	relay_block(r, "position_gone", error->message);
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

/* The postmaster tells who started us; when that was an earlier housekeeping worker, nobody tells the new one. */
static void
relay_exit(int code, Datum arg)
{
	usher_follow_end();
	if (exit_entry)
		pg_atomic_write_u32(&exit_entry->procno, USHER_NO_PROC);
	if (exit_db)
		usher_poke_proc(pg_atomic_read_u32(&exit_db->worker_procno));
}

/* NULL: it was dropped meanwhile. */
static UsherDb *
find_log(void)
{
	MemoryContext context = CurrentMemoryContext;
	UsherDb *volatile db = NULL;

	PG_TRY();
	{
		usher_worker_begin("looking for the log");
		db = usher_db();
		relay_commit();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		if (extension_exists())
			ReThrowError(error);
	}
	PG_END_TRY();
	return db;
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
	usher_worker_settings();
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
	before_shmem_exit(relay_exit, (Datum) 0);
	if (!pg_atomic_compare_exchange_u32(&entry->procno, &none, usher_my_procno()))
		proc_exit(0); /* another one is at it */
	exit_entry = entry;
	if (entry->dboid != MyDatabaseId || usher_workers_paused() || !extension_exists())
		proc_exit(0);

	relay.entry = entry;
	relay.sink_id = entry->sink_id;
	relay.lane = entry->lane;
	relay.replay_id = entry->replay_id;
	relay.rate_since = GetCurrentTimestamp();
	dlist_init(&relay.batches);
	relay.db = exit_db = find_log();
	if (relay.db == NULL)
		proc_exit(0);
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
