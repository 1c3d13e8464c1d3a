/*
 * extension/relay/status.h
 *	  Entries of relays in shared memory: who has one, what they tell, and how
 *	  workers learn of a changed configuration.
 */
#ifndef USHER_RELAY_STATUS_H
#define USHER_RELAY_STATUS_H

#include "usher.h"
#include "shmem.h"

extern void usher_relay_init(void);

/* This process is a relay worker: what it writes down about its own work changes no configuration. */
extern void usher_relay_is_worker(void);

/* This transaction changes sinks, routes or replays: once it has committed every worker reads them anew. */
extern void usher_sinks_changed_at_commit(UsherDb *db);

/* The entry of a lane or replay of this database's log; NULL: none (with `create`: all are taken). */
extern UsherRelay *
usher_relay_entry(Oid log, int32 sink_id, int32 lane, int64 replay_id, bool create);
extern void usher_relay_free(UsherRelay *relay);

extern void usher_relay_status(UsherRelay *relay, UsherRelayStatus *status);

extern const char *usher_relay_state_name(UsherRelayState state);

/* End all workers of a database: the signal only. */
extern int usher_relays_terminate(Oid dboid);

#endif /* USHER_RELAY_STATUS_H */
