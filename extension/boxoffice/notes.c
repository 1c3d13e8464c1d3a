/*
 * extension/boxoffice/notes.c
 *	  What this transaction does to zones' slots, and what becomes of it.
 *
 * What it takes is gone for others at once, and comes back when it, or the
 * savepoint in which it was taken, rolls back.  What it gives is there for
 * others once it has committed.  A slot is pinned from the first touch to the
 * end of the whole transaction, savepoints or not.
 *
 * The callbacks run behind the point where PostgreSQL has made the transaction
 * visible, or aborted it.  They allocate nothing and cannot fail: the lists
 * live in TopMemoryContext and grow before anything is taken.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "access/xact.h"
#include "utils/memutils.h"

typedef struct Pin
{
	UsherZoneSlot *slot;
	UsherZoneKey key;
} Pin;

/* Of one pin and one (sub)transaction; those of the innermost stand at the end. */
typedef struct Note
{
	int pin;
	SubTransactionId subid;
	int64 taken, given;
} Note;

static Pin *pins;
static int npins, pins_size;
static Note *notes;
static int nnotes, notes_size;

static TimestampTz first_deadline; /* of this transaction's bookings; 0: none */
static UsherDb *deadline_db;
static UsherDb *config_db; /* whose configuration this transaction changes */
static bool rows_loaded; /* by COPY */

static void *
grown(void *array, int n, int *size, Size element)
{
	int wanted = Max(16, 2 * *size);

	if (n < *size)
		return array;
	array = array ? repalloc(array, wanted * element)
				  : MemoryContextAlloc(TopMemoryContext, wanted * element);
	*size = wanted;
	return array;
}

static int
find_pin(int32 tenant_id, int64 zone_id)
{
	for (int i = npins - 1; i >= 0; i--)
		if (pins[i].key.zone_id == zone_id && pins[i].key.tenant_id == tenant_id)
			return i;
	return -1;
}

bool
usher_zone_is_pinned(int32 tenant_id, int64 zone_id)
{
	return find_pin(tenant_id, zone_id) >= 0;
}

int
usher_zone_pin(int32 tenant_id, int64 zone_id)
{
	int pin = find_pin(tenant_id, zone_id);
	UsherZoneSlot *slot;

	if (pin >= 0)
		return pin;
	pins = grown(pins, npins, &pins_size, sizeof(Pin));
	slot = usher_zone_acquire(tenant_id, zone_id);
	if (slot == NULL)
		return -1;
	pins[npins].slot = slot;
	pins[npins].key = slot->key;
	return npins++;
}

static Note *
note_of(int pin)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	for (int i = nnotes - 1; i >= 0 && notes[i].subid == subid; i--)
		if (notes[i].pin == pin)
			return &notes[i];
	notes = grown(notes, nnotes, &notes_size, sizeof(Note));
	notes[nnotes] = (Note){.pin = pin, .subid = subid};
	return &notes[nnotes++];
}

/* Places that this transaction has taken and that nobody else has: they come back with its own rollback alone. */
static int64
taken_here(int pin)
{
	int64 taken = 0;

	for (int i = 0; i < nnotes; i++)
		if (notes[i].pin == pin)
			taken += notes[i].taken;
	return taken;
}

bool
usher_zone_take(int pin, int64 n, UsherZoneRefusal *refusal)
{
	Note *note = note_of(pin);
	UsherZoneSlot *slot = pins[pin].slot;
	int64 free, open;

	SpinLockAcquire(&slot->mutex);
	free = slot->free;
	if (free >= n)
	{
		slot->free -= n;
		slot->open += n;
	}
	open = slot->open;
	SpinLockRelease(&slot->mutex);
	if (free >= n)
	{
		note->taken += n;
		return true;
	}
	refusal->left = Max(free, 0);
	refusal->retryable = open > taken_here(pin);
	return false;
}

static void
put_back(UsherZoneSlot *slot, int64 n)
{
	SpinLockAcquire(&slot->mutex);
	slot->free += n;
	slot->open -= n;
	SpinLockRelease(&slot->mutex);
}

void
usher_zone_untake(int pin, int64 n)
{
	Note *note = note_of(pin);

	Ensure(note->taken >= n, "more places are given back than were taken");
	note->taken -= n;
	put_back(pins[pin].slot, n);
}

void
usher_zone_give(int pin, int64 n)
{
	note_of(pin)->given += n;
}

void
usher_box_expires(TimestampTz at)
{
	if (first_deadline == 0 || at < first_deadline)
		first_deadline = at;
	deadline_db = usher_db();
}

/* Something is due at that time; false: something earlier was known. */
bool
usher_box_deadline_known(UsherDb *db, TimestampTz at)
{
	uint64 known = pg_atomic_read_u64(&db->box_deadline);

	while ((uint64) at < known)
		if (pg_atomic_compare_exchange_u64(&db->box_deadline, &known, (uint64) at))
			return true;
	return false;
}

/* A booking expires at that time: the worker that sleeps for longer is woken. */
static void
tell_deadline(UsherDb *db, TimestampTz at)
{
	uint32 procno;

	if (!usher_box_deadline_known(db, at))
		return;
	procno = pg_atomic_read_u32(&db->box_procno);
	if (procno != USHER_NO_PROC)
		usher_poke_proc(procno);
	else
		usher_wake_housekeeping(db); /* which starts it */
}

/* SIGTERM to the worker of a database; returns how many there are. */
int
usher_box_worker_terminate(Oid dboid)
{
	int running = 0;

	for (int i = 0; i < usher_shared->ndbs; i++)
		if (usher_shared->dbs[i].dboid == dboid &&
			usher_terminate_proc(pg_atomic_read_u32(&usher_shared->dbs[i].box_procno)))
			running++;
	return running;
}

void
usher_box_config_changes(bool loaded)
{
	config_db = usher_db();
	rows_loaded |= loaded;
}

bool
usher_box_config_changed_here(void)
{
	return config_db != NULL;
}

/* ---- the end of a (sub)transaction ---- */

static void
settle(const Note *note, bool committed)
{
	UsherZoneSlot *slot = pins[note->pin].slot;

	if (!committed)
	{
		put_back(slot, note->taken);
		return;
	}
	SpinLockAcquire(&slot->mutex);
	slot->open -= note->taken;
	slot->free += note->given;
	SpinLockRelease(&slot->mutex);
}

static void
finish(bool committed)
{
	usher_zone_load_failed();
	usher_zone_unhold();
	for (int i = 0; i < nnotes; i++)
		settle(&notes[i], committed);
	nnotes = 0;
	while (npins > 0)
		usher_zone_release(pins[--npins].slot);
	if (committed && first_deadline != 0)
		tell_deadline(deadline_db, first_deadline);
	first_deadline = 0;
	if (config_db != NULL && committed)
	{
		pg_atomic_fetch_add_u32(&config_db->box_generation, 1);
		if (rows_loaded)
			usher_zones_forget(config_db->dboid);
	}
	config_db = NULL;
	rows_loaded = false;
}

static void
refuse_prepare(void)
{
	if (npins > 0 || config_db != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_USHER_PREPARE_REFUSED),
				 errmsg("cannot PREPARE a transaction that has used the box office"),
				 errhint("Its places are counted in memory until it ends: COMMIT instead.")));
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			finish(true);
			break;
		case XACT_EVENT_ABORT:
			finish(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			break;
		default:
			break;
	}
}

static void
subtransaction_committed(SubTransactionId mine, SubTransactionId parent)
{
	int begun = nnotes, kept;

	while (begun > 0 && notes[begun - 1].subid == mine)
		begun--;
	kept = begun;
	for (int i = begun; i < nnotes; i++)
	{
		int at = kept - 1;

		while (at >= 0 && notes[at].subid == parent && notes[at].pin != notes[i].pin)
			at--;
		if (at >= 0 && notes[at].subid == parent)
		{
			notes[at].taken += notes[i].taken;
			notes[at].given += notes[i].given;
			continue;
		}
		notes[kept] = notes[i];
		notes[kept++].subid = parent;
	}
	nnotes = kept;
}

static void
subtransaction_aborted(SubTransactionId mine)
{
	usher_zone_load_failed();
	usher_zone_unhold();
	while (nnotes > 0 && notes[nnotes - 1].subid == mine)
		settle(&notes[--nnotes], false);
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		subtransaction_committed(mine, parent);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		subtransaction_aborted(mine);
}

void
usher_box_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
