/*
 * gateway/batch_room.h
 *	  What the files of coalescing share among themselves.
 */
#ifndef USHERD_BATCH_ROOM_H
#define USHERD_BATCH_ROOM_H

#include "batch.h"

/* batch.c */
extern void element_end_as(Element *element, BatchOutcome outcome);
/* Its key is free from now on: for who is about to tell its end. */
extern void element_release(Element *element);
/* Once more after so long, for 5 seconds; then it is overdue. */
extern void element_try_later(Element *element, double seconds, BatchOutcome overdue);
extern void element_alone(Element *element); /* in a batch of its own */
/* [from, to) of a batch, without one of them, once more. */
extern void batch_again(const Batch *batch, int from, int to, int without);
extern void batch_ready(Batch *batch, bool in_front);
extern void batch_free(Batch *batch); /* its elements belong to somebody else by now */

/* batch_outcome.c */
extern void batch_take_outcome(Batch *batch, DbOutcome outcome, const PGresult *result);
extern void batch_take_range(void *batch, PGresult *result);

/* batch_suspects.c */
extern bool suspect_is(const Element *element); /* likely to raise an error, or to wait */
extern void suspect_raised(const Element *element); /* a trait of it, probably */
extern void suspect_locked(const Element *element); /* somebody holds what it wants */
extern void suspect_fine(const Element *element);

/* batch_keys.c */
extern uint64_t hash_bytes(uint64_t hash, const char *data, size_t len);
extern uint64_t key_hash_of(const Element *element);
/* false: another one has it, and the element waits with that one. */
extern bool key_hold(Element *element);
/* The first of those who waited, which has the key from now on; or NULL. */
extern Element *key_release(Element *element);

#endif /* USHERD_BATCH_ROOM_H */
