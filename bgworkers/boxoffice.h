/*
 * bgworkers/boxoffice.h
 *	  The worker that lets reservations expire: started by the housekeeping worker.
 */
#ifndef USHER_BOXOFFICE_WORKER_H
#define USHER_BOXOFFICE_WORKER_H

#include "usher.h"
#include "shmem.h"

/*
 * Start the database's worker once there is something that will be due, and
 * again when it has ended.  Returns the milliseconds until something postponed
 * is due; -1: nothing.  Called outside of a transaction.
 */
extern long usher_supervise_boxoffice(UsherDb *db);

/* The log is gone: end the worker. */
extern void usher_supervise_boxoffice_end(UsherDb *db);

#endif /* USHER_BOXOFFICE_WORKER_H */
