/*
 * extension/relay/status.c
 *	  Entries of relays in shared memory: who has one, what they tell, and how
 *	  workers learn of a changed configuration.
 *
 * Entries are taken and freed under UsherShared.lock by the database's
 * housekeeping worker.  The status in an entry is written by its worker alone
 * (by the housekeeping worker while there is none) and copied under the mutex.
 */
#include "relay/status.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"

#include <signal.h>

static UsherDb *changed; /* whose sinks this transaction changes */
static bool is_worker;

static void
tell_workers(UsherDb *db)
{
	pg_atomic_fetch_add_u32(&db->sinks_generation, 1);
	usher_wake_housekeeping(db);
	for (int i = 0; i < usher_shared->nrelays; i++)
		if (usher_shared->relays[i].dboid == db->dboid)
			usher_poke_proc(pg_atomic_read_u32(&usher_shared->relays[i].procno));
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (changed == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE: /* who commits it tells nobody: the workers look once too early, and at the next change */
			tell_workers(changed);
			changed = NULL;
			break;
		case XACT_EVENT_ABORT:
			changed = NULL;
			break;
		default:
			break;
	}
}

void
usher_relay_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
}

void
usher_relay_is_worker(void)
{
	is_worker = true;
}

void
usher_sinks_changed_at_commit(UsherDb *db)
{
	if (!is_worker)
		changed = db;
}

static UsherRelay *
find_entry(Oid log, int32 sink_id, int32 lane, int64 replay_id)
{
	for (int i = 0; i < usher_shared->nrelays; i++)
	{
		UsherRelay *r = &usher_shared->relays[i];

		if (r->dboid == MyDatabaseId && r->log_relid == log && r->sink_id == sink_id &&
			r->lane == lane && r->replay_id == replay_id)
			return r;
	}
	return NULL;
}

static UsherRelay *
free_entry(void)
{
	for (int i = 0; i < usher_shared->nrelays; i++)
		if (!OidIsValid(usher_shared->relays[i].dboid))
			return &usher_shared->relays[i];
	return NULL;
}

UsherRelay *
usher_relay_entry(Oid log, int32 sink_id, int32 lane, int64 replay_id, bool create)
{
	UsherRelay *r;

	LWLockAcquire(usher_shared->lock, create ? LW_EXCLUSIVE : LW_SHARED);
	r = find_entry(log, sink_id, lane, replay_id);
	if (r == NULL && create && (r = free_entry()) != NULL)
	{
		memset(&r->status, 0, sizeof(r->status));
		pg_atomic_write_u32(&r->procno, USHER_NO_PROC);
		pg_atomic_write_u32(&r->blocked_generation, 0);
		pg_atomic_write_u32(&r->ring, 0);
		r->sink_id = sink_id;
		r->lane = lane;
		r->replay_id = replay_id;
		r->log_relid = log;
		r->dboid = MyDatabaseId;
	}
	LWLockRelease(usher_shared->lock);
	return r;
}

/* Only without a worker. */
void
usher_relay_free(UsherRelay *relay)
{
	LWLockAcquire(usher_shared->lock, LW_EXCLUSIVE);
	usher_relay_forget(relay);
	LWLockRelease(usher_shared->lock);
}

void
usher_relay_status(UsherRelay *relay, UsherRelayStatus *status)
{
	SpinLockAcquire(&relay->mutex);
	memcpy(status, &relay->status, sizeof(*status));
	SpinLockRelease(&relay->mutex);
}

const char *
usher_relay_state_name(UsherRelayState state)
{
	static const char *const names[] = {
		[RELAY_STARTING] = "starting", [RELAY_RUNNING] = "running",
		[RELAY_WAITING] = "waiting",   [RELAY_PAUSED] = "paused",
		[RELAY_BLOCKED] = "blocked",   [RELAY_NO_SLOT] = "no worker slot",
	};

	return names[state];
}

int
usher_relays_terminate(Oid dboid)
{
	int running = 0;

	for (int i = 0; i < usher_shared->nrelays; i++)
	{
		UsherRelay *r = &usher_shared->relays[i];

		if (r->dboid == dboid && usher_terminate_proc(pg_atomic_read_u32(&r->procno)))
			running++;
	}
	return running;
}
