/*
 * gateway/reserve_room.h
 *	  What the two files of reservations share: groups.
 *
 * reserve.c has the queues, what leaves when and what becomes of it;
 * reserve_message.c writes a group as the parameter of boxoffice.reserve_many
 * and reads its results.
 */
#ifndef USHERD_RESERVE_ROOM_H
#define USHERD_RESERVE_ROOM_H

#include <libpq-fe.h>

#include "db.h"
#include "reserve.h"

#define RESERVE_GROUP_MAX 500 /* what boxoffice.reserve_many takes */

/* What travels, or will, as one call. */
typedef struct ReserveGroup
{
	struct ReserveGroup *next;
	int slot;
	double since, try_at;
	int64_t last; /* position of the last event that it wrote; -1: none, or not known */
	Text parameter, tokens;
	bool has_tokens;
	int n;
	Reservation *elements[];
} ReserveGroup;

extern const char reserve_sql[];
extern void reserve_message_write(ReserveGroup *group);
/* A row of the results; false: it is none, or of an element that there is not. */
extern bool
reserve_message_read(const PGresult *result, int row, int n, int *element, ReserveResult *outcome);

#endif /* USHERD_RESERVE_ROOM_H */
