/*
 * extension/signal/signal.h
 *	  Signals: small messages that are kept in memory for a moment, and lost without regret.
 */
#ifndef USHER_SIGNAL_H
#define USHER_SIGNAL_H

#include "usher.h"

#include "shmem.h"

#define USHER_SIGNALS_TRANCHE "pg_usher_signals" /* a lock for each database */
#define USHER_SIGNAL_DATA_MAX 8000 /* bytes of JSON */

typedef struct UsherSignal
{
	int64 number; /* rises by one from signal to signal of the database, and over restarts */
	int32 tenant_id;
	TimestampTz sent_at;
	const char *topic, *sender, *data; /* not ended by a zero byte */
	int topic_len, sender_len, data_len;
} UsherSignal;

/* A copy of what the ring has behind a number. */
typedef struct UsherSignals
{
	int64 next; /* to read on from */
	int64 lost; /* of all tenants', behind the number; -1: nobody knows, the ring began behind it */
	char *bytes;
	Size len, at;
} UsherSignals;

extern Size usher_signals_size(void);
extern void usher_signals_init(void);

/*
 * Sends what stands in it but number and time, and returns its number.  Primary only: the caller has checked.
 * Wakes who waits for it.
 */
extern int64 usher_signal_send(UsherDb *db, const UsherSignal *signal);

/* after: -1 for all that is there. The copy is in the current memory context. */
extern void usher_signals_copy(UsherDb *db, int64 after, UsherSignals *signals);
extern bool usher_signals_next(UsherSignals *signals, UsherSignal *signal);
/* Number of the last one; the tenant's (0: of any) behind `after`, or 0. */
extern int64 usher_signals_last(UsherDb *db);
extern int64 usher_signals_found(UsherDb *db, int32 tenant_id, int64 after);

#endif /* USHER_SIGNAL_H */
