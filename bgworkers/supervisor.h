/*
 * bgworkers/supervisor.h
 *	  Starts the relay workers of one database, and starts them again.
 */
#ifndef USHER_SUPERVISOR_H
#define USHER_SUPERVISOR_H

#include "usher.h"
#include "shmem.h"

/*
 * Compare what is configured with what runs.  Returns the milliseconds until
 * something postponed is due; -1: nothing.  Called outside of a transaction.
 */
extern long usher_supervise(UsherDb *db);

/* The log is gone: end the workers and give their entries back. */
extern void usher_supervise_end(UsherDb *db);

#endif /* USHER_SUPERVISOR_H */
