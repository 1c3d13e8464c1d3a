/*
 * extension/boxoffice/lock.c
 *	  Locks that are no row's: a user's, and an event's barrier.
 *
 * Order, for everybody and for a whole batch: users (sorted by hash), bookings
 * (sorted by id), seats (sorted by label), streams.  The barrier stands outside
 * of it: nobody ever waits for it.
 *
 * A user's lock makes the user's requests follow each other: what counts for a
 * limit, and for a repeated idempotency key, is then the same for the second as
 * for the third.  It is taken on 64 bits of a hash, and held to the end of the
 * transaction.
 */
#include "boxoffice/box.h"

#include "log/log.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

#define EVENT_LOCK_CLASS 0x5560 /* beside the classes of advisory locks */
#define USER_LOCK_CLASS  0x5561

uint64
usher_box_user_hash(int32 tenant_id, const text *user)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(user), VARSIZE_ANY_EXHDR(user),
							   tenant_id);
}

void
usher_box_user_lock(uint64 hash)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, USER_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

static void
event_tag(LOCKTAG *tag, int32 tenant_id, int64 event_id)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) &event_id, sizeof(event_id),
									  tenant_id);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 EVENT_LOCK_CLASS);
}

/* Never waits for long: nobody holds the lock otherwise for more than an instant. */
void
usher_box_event_share(int32 tenant_id, int64 event_id)
{
	LOCKTAG tag;

	event_tag(&tag, tenant_id, event_id);
	(void) LockAcquire(&tag, ShareLock, false, false);
}

/*
 * Who sells, or confirms, takes the share first and looks at the event's state
 * behind it.  So once the state is committed, and this has returned true, every
 * booking that did not see it is committed and visible, or has rolled back.
 */
bool
usher_box_event_quiet(int32 tenant_id, int64 event_id)
{
	LOCKTAG tag;

	/* who changed the state may be seen to have committed before he has counted it */
	pg_atomic_fetch_add_u32(&usher_db()->box_generation, 1);
	event_tag(&tag, tenant_id, event_id);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	(void) LockRelease(&tag, ExclusiveLock, false);
	return true;
}
