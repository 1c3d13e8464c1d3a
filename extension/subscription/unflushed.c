/*
 * extension/subscription/unflushed.c
 *	  A transaction that only acknowledges does not wait for the disk.
 *
 * What a crash can take from it is the acknowledgement: the events are
 * delivered again, as is promised.  Whatever else a transaction does durably
 * is in the WAL, and each record that this backend writes moves
 * XactLastRecEnd.  So the end is noted of what was written on behalf of an
 * acknowledgement, and when anything else has moved it, before, between or
 * behind, the commit is flushed as ever: also when the last of it was a
 * savepoint that was rolled back, or a page that was pruned.  (The progress of
 * a replication origin is in the commit record itself.)
 *
 * It is looked at behind all that a transaction can still write in pre-commit:
 * deferred triggers, our events, other extensions' work.  So the callback must
 * be registered before all others.
 */
#include "subscription/subscription.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "replication/origin.h"
#include "utils/guc.h"

static bool any; /* this transaction has written acknowledgements */
static bool alone; /* and nothing else, up to the end of the last of them */
static XLogRecPtr end; /* which is here */

/* From here to usher_unflushed_end() nothing may be written that a crash must not take. */
void
usher_unflushed_begin(void)
{
	if (!any)
		end = InvalidXLogRecPtr;
	alone = (alone || !any) && XactLastRecEnd == end;
	any = true;
}

void
usher_unflushed_end(void)
{
	end = XactLastRecEnd;
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT)
		any = false;
	else if (any && alone && XactLastRecEnd == end && !usher_synchronous_ack &&
			 replorigin_session_origin == InvalidRepOriginId &&
			 synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

void
usher_unflushed_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
}
